import sys

from mmkit import Component, hookimpl

print("hello from a plugin")
print("and a warning", file=sys.stderr)


@hookimpl
def mmkit_components():
    return [Component("head", "x", "A head.", "plug:b", "plug:C")]
