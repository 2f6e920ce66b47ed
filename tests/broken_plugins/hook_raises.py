from mmkit import Component, hookimpl


@hookimpl
def mmkit_components():
    raise KeyError("weights")
