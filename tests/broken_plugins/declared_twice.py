from mmkit import Component, hookimpl


@hookimpl
def mmkit_components():
    return [Component("head", "x", "A head.", "plug:b", "plug:C"), Component("head", "x", "A head.", "plug:b", "plug:C")]
