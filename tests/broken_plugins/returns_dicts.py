from mmkit import hookimpl


@hookimpl
def mmkit_components():
    return [{"kind": "head", "name": "x"}]
