from mmkit import Component, hookimpl


@hookimpl
def mmkit_components(registry):
    return [Component("head", "x", "A head.", "plug:b", "plug:C")]
