from mmkit import Component, hookimpl


@hookimpl
def mmkit_components():
    return [Component("encodr", "x", "An encoder.", "plug:b", "plug:C")]
