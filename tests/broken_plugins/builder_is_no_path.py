from mmkit import Component, hookimpl


def build(context):
    return None


@hookimpl
def mmkit_components():
    return [Component("head", "x", "A head.", build, "plug:C")]
