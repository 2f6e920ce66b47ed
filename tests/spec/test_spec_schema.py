"""What the spec's own JSON Schema takes."""

from mmkit.spec.schema import Spec


def test_a_single_name_is_taken_where_the_spec_takes_one() -> None:
    fields = Spec.model_json_schema()["$defs"]
    for model, field in (("Task", "reads"), ("Stage", "train"), ("Urls", "hosts")):
        kinds = [option.get("type") for option in fields[model]["properties"][field]["anyOf"]]
        assert {"array", "string"} <= set(kinds)
