"""New plugins and recipes from templates: ``mmkit new``. The templates are in ``templates/``, rendered by copier."""

from mmkit.scaffold.plugin import new_plugin
from mmkit.scaffold.recipe import new_recipe
from mmkit.scaffold.render import Made

__all__ = ["Made", "new_plugin", "new_recipe"]
