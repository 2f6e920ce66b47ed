from mmkit import Component


def mmkit_components():
    return [Component("head", "x", "A head.", "plug:b", "plug:C")]
