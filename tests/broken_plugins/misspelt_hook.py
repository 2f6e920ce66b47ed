from mmkit import Component, hookimpl


@hookimpl
def mmkit_componets():
    return [Component("head", "x", "A head.", "plug:b", "plug:C")]
