"""The base of configs that are registered parts. Imports pydantic only where a config is validated."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from seqlab.registry import Parts, default_part


class Part:
    """The base of configs that are registered parts: a field of the type of a kind's base class holds any of the kind.

    The base class of a kind sets `part_kind`; the tag of each config says which it is, so that a config that is read
    back has the same type.
    """

    part_kind: ClassVar[str]
    tag_field: ClassVar[str] = "family"
    """The name of the field that says which part of its kind a config describes."""
    to_define: ClassVar[tuple[str, ...]] = ()
    """The methods and attributes that a subclass must define."""
    shared_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that keep their values when another part of the kind is chosen which has them with the same type."""

    @classmethod
    def missing_members(cls) -> list[str]:
        """List what a base class asks for in `to_define` and no class below it defines."""
        bases = [(base, name) for base in cls.__mro__ for name in vars(base).get("to_define", ())]
        fields = getattr(cls, "__pydantic_fields__", {})
        return [
            name for base, name in bases if name not in fields and getattr(cls, name, None) is getattr(base, name, None)
        ]

    @classmethod
    def on_chosen(cls, values: dict[str, Any]) -> None:
        """Change the other sections of a run's nested values where they make no sense beside this part.

        Called when the tag of its section is set by dotted key, as on the command line.
        """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Accept, where a field has the type of a kind's base class, whichever registered config the tag names."""
        if "part_kind" not in source.__dict__:
            return handler(source)
        from pydantic_core import core_schema

        parts = Parts(source.part_kind, source.tag_field)

        def validate(value: Any) -> Any:
            if not isinstance(value, source):
                name = value.get(source.tag_field) if isinstance(value, Mapping) else None
                chosen = parts.get(str(name)) or default_part(source.part_kind)  # which says what is wrong
                return chosen.__pydantic_validator__.validate_python(value)
            name = getattr(value, source.tag_field)
            if name not in parts or not isinstance(value, parts[name]):
                raise ValueError(
                    f"{type(value).__name__} is no registered {source.part_kind}: add it with "
                    f'`@seqlab.register("{source.part_kind}")`.'
                )
            return value

        def dump(value: Any, info: Any) -> Any:
            return type(value).__pydantic_serializer__.to_python(value, mode=info.mode)

        return core_schema.no_info_plain_validator_function(
            validate, serialization=core_schema.plain_serializer_function_ser_schema(dump, info_arg=True)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Callable[[Any], Any]) -> Any:
        """Describe the base class of a kind as one of the registered configs."""
        if "part_kind" not in cls.__dict__:
            return handler(schema)
        parts = Parts(cls.part_kind, cls.tag_field).values()
        return {
            "oneOf": [handler(each.__pydantic_core_schema__) for each in parts],
            "discriminator": {"propertyName": cls.tag_field},
        }
