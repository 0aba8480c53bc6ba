"""Base class of configs that are registered parts; pydantic is imported only when a config is validated."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from seqlab.registry import Parts, default_part


class Part:
    """Base class of configs that are registered parts, such as model or optimizer configs.

    Each kind of part has a base class, which sets `part_kind`. A field with the type of that base class accepts every
    registered config of the kind. The tag of a config, for example `family: lstm`, selects its type when it is read.
    """

    part_kind: ClassVar[str]
    tag_field: ClassVar[str] = "family"
    """Name of the field that contains the tag, which is the registered name of the config."""
    required_members: ClassVar[tuple[str, ...]] = ()
    """Methods and attributes that a subclass must define."""
    shared_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that keep their values when the user selects another part of the kind that has a field of the same name
    and type."""

    tasks: ClassVar[tuple[str, ...]] = ()
    """Values of `data.kind` with which the part can be used; empty: all."""
    part_names: ClassVar[Mapping[str, str]] = {}
    """Fields that contain the name of another registered part -> its kind. Runs record its plugin."""

    @classmethod
    def missing_members(cls) -> list[str]:
        """Return the `required_members` of the base classes that no subclass defines."""
        bases = [(base, name) for base in cls.__mro__ for name in vars(base).get("required_members", ())]
        fields = getattr(cls, "__pydantic_fields__", {})
        return [
            name for base, name in bases if name not in fields and getattr(cls, name, None) is getattr(base, name, None)
        ]

    @classmethod
    def fits_data(cls, kind: str) -> bool:
        """Return whether this part can be used with a kind of data; messages suggest only those that can."""
        return not cls.tasks or kind in cls.tasks

    @classmethod
    def on_selected(cls, values: dict[str, Any]) -> None:
        """Adjust the other sections of a config that are incompatible with this part; `values` are nested sections.

        This is called when the tag of the part's section is set by a dotted key, as on the command line.
        """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Validate a field typed with the base class of a kind: its tag selects the registered config class."""
        if "part_kind" not in source.__dict__:
            return handler(source)
        from pydantic_core import core_schema

        parts = Parts(source.part_kind, source.tag_field)

        def validate(value: Any) -> Any:
            if not isinstance(value, source):
                name = value.get(source.tag_field) if isinstance(value, Mapping) else None
                # the default config reports an invalid tag
                config_class = parts.get(str(name)) or default_part(source.part_kind)
                return config_class.__pydantic_validator__.validate_python(value)
            name = getattr(value, source.tag_field)
            if name not in parts or not isinstance(value, parts[name]):
                raise ValueError(
                    f"{type(value).__name__} is not a registered {source.part_kind}: register it with "
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
        """Describe a kind's base class as a union of its registered configs."""
        if "part_kind" not in cls.__dict__:
            return handler(schema)
        parts = dict.fromkeys(Parts(cls.part_kind, cls.tag_field).values())  # a class may have several names
        return {
            "oneOf": [handler(part.__pydantic_core_schema__) for part in parts],
            "discriminator": {"propertyName": cls.tag_field},
        }
