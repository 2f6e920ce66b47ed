from mmkit import Component, hookimpl


@hookimpl
def mmkit_components():
    return [Component("head", "my head", "A head.", "plug:b", "plug:C")]
