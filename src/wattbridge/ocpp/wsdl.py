"""Service description → shapes, read through zeep's type system; and the description as text, for whoever
asks for ``?wsdl``.

The descriptions lie in ``wsdl/<version>/``: a WSDL for each service and the schemas it imports. zeep says
what is named what, in which order and how often; lengths, enumerations and fraction digits, which zeep leaves
behind, come from the very documents that zeep loaded. Nothing here knows an action by name. What a shape
cannot hold is an error, never dropped. Reading is done once, at start, and from files only; zeep's import
takes most of that time and so waits until then.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wattbridge.ocpp.shapes import Field, Kind, Operation, Place

if TYPE_CHECKING:
    from lxml.etree import _Element

SERVICES = ("CentralSystemService", "ChargePointService")

WSDL = "{http://schemas.xmlsoap.org/wsdl/}"
SOAP12 = "{http://schemas.xmlsoap.org/wsdl/soap12/}"
WSAW = "{http://www.w3.org/2006/05/addressing/wsdl}"
XS = "{http://www.w3.org/2001/XMLSchema}"

# The name in zeep.xsd of a built-in type → kind; the first that fits (zeep's Integer is a Decimal).
KINDS: dict[str, Kind] = {
    "String": "string",
    "Integer": "integer",
    "Decimal": "decimal",
    "Boolean": "boolean",
    "DateTime": "dateTime",
    "AnyURI": "uri",
}


def descriptions_folder(module: Path = Path(__file__)) -> Path:
    """The folder with one folder of descriptions for each version.

    It is in the package when that was installed from a wheel, and at the top of a checkout.
    """
    in_package, in_checkout = module.parents[1] / "wsdl", module.parents[3] / "wsdl"
    for folder in (in_package, in_checkout):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"no service descriptions: neither {in_package} nor {in_checkout} is a folder")


@cache
def read_version(version: str = "1.6") -> tuple[Operation, ...]:
    """All operations of OCPP-S *version*: those of the CentralSystemService, then the ChargePointService's.

    Raises ValueError when there is no such version.
    """
    paths = (_description(version, service) for service in SERVICES)
    return tuple(operation for path in paths for operation in read_operations(path))


def read_operations(path: Path) -> tuple[Operation, ...]:
    """The operations of one WSDL, in its order.

    Raises ValueError where the description is not in OCPP's manner (no chargeBoxIdentity header, no
    wsa:Action) or has something that a shape cannot hold; FileNotFoundError when a file is missing; zeep's
    own exceptions when it is no valid WSDL, or imports something over the network.
    """
    from zeep.settings import Settings
    from zeep.wsdl import Document

    path = path.resolve()
    files = _Files()
    transport: Any = files  # all that zeep asks of a transport is load()
    document = Document(str(path), transport, settings=Settings(forbid_dtd=True, forbid_external=True))

    roots = {name: _parse(content) for name, content in files.contents.items()}
    simple_types = {
        name: element
        for root in roots.values()
        for element in root.iter(f"{XS}simpleType")
        if (name := element.get("name"))
    }
    root = roots[str(path)]
    response_actions = {
        name: output.get(f"{WSAW}Action") or _default_action(root, port_type, f"{name}Response")
        for port_type in root.iterfind(f"{WSDL}portType")
        for operation in port_type.iterfind(f"{WSDL}operation")
        for output in operation.iterfind(f"{WSDL}output")
        for name in [operation.get("name", "")]
    }
    operations = [
        (service.name, operation)
        for service in document.services.values()
        for port in service.ports.values()
        for operation in port.binding.all().values()
    ]
    try:
        return tuple(
            _operation(service, operation, response_actions.get(operation.name), simple_types)
            for service, operation in operations
        )
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None


def published(service: str, address: str, version: str = "1.6") -> bytes:
    """The WSDL of *service* for publishing at ``<address>?wsdl``, that of another version than 1.6 at
    ``<address>?wsdl&version=1.5``.

    It names *address* as the service's, and ``<address>?xsd=<file>`` as where its schema is.
    Raises ValueError when there is no such service or version.
    """
    description = _parse(_description(version, service).read_bytes())
    for element in description.iter(f"{SOAP12}address"):
        element.set("location", address)
    query = "&" if "?" in address else "?"
    which = "" if version == "1.6" else f"&version={version}"
    for element in description.iter(f"{XS}import"):
        element.set("schemaLocation", f"{address}{query}xsd={element.get('schemaLocation')}{which}")
    return _write(description)


def published_schema(name: str, version: str = "1.6") -> bytes | None:
    """The schema *name* for publishing at ``<address>?xsd=<name>``; None when it is not one of ours.

    What it includes stands in it: node-soap does not lend a namespace to an included schema that has none
    (XML Schema 1.0, 4.2.1). *name* may come from anywhere: it is compared with the files there are, and never
    made part of a path.
    """
    for file in descriptions_folder().glob("*/*.xsd"):
        if (file.parent.name, file.name) == (version, name):
            return _write(_with_included(_parse(file.read_bytes()), file.parent))
    return None


def _with_included(schema: _Element, folder: Path) -> _Element:
    for include in schema.findall(f"{XS}include"):
        included = _parse((folder / str(include.get("schemaLocation"))).read_bytes())
        prefix = next(name for name, uri in schema.nsmap.items() if uri == schema.get("targetNamespace"))
        for element in included.iter(f"{XS}*"):
            for name in ("type", "base"):
                named = str(element.get(name, ":"))
                if ":" not in named:
                    element.set(name, f"{prefix}:{named}")
        for child in reversed(list(included)):
            include.addnext(child)
        schema.remove(include)
    return schema


def _default_action(root: _Element, port_type: _Element, message: str) -> str:
    """The wsa:Action of a message that names none (WS-Addressing 1.0 Metadata, 4.4.4), as 1.2 has them.

    OCPP's namespaces end with the "/" that would stand between them and the rest.
    """
    namespace = root.get("targetNamespace", "").removesuffix("/")
    return f"{namespace}/{port_type.get('name')}/{message}"


class _Files:
    """What zeep loads documents through: from files only, and remembers what it gave."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    def load(self, location: str) -> bytes:
        self.contents[location] = Path(location).read_bytes()
        return self.contents[location]


def _description(version: str, service: str) -> Path:
    files = {(file.parent.name, file.stem): file for file in descriptions_folder().glob("*/*.wsdl")}
    if (version, service) not in files:
        known = ", ".join(f"{service} {version}" for version, service in sorted(files))
        raise ValueError(f"no description of {service} {version}; there are {known}")
    return files[version, service]


def _parse(content: bytes) -> _Element:
    from lxml import etree

    return etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True))


def _write(document: _Element) -> bytes:
    from lxml import etree

    return etree.tostring(document, xml_declaration=True, encoding="UTF-8")


def _operation(
    service: str, operation: Any, response_action: str | None, simple_types: dict[str, _Element]
) -> Operation:
    """Turn zeep's operation into ours. zeep keeps the wsa:Action of inputs only, so the other is given."""
    request_action = operation.abstract.wsa_action
    if request_action is None or response_action is None:
        raise ValueError(
            f"{operation.name}: input and output must be there, and the input have a wsaw:Action"
        )
    request, response = operation.input.body, operation.output.body
    namespace = request.qname.namespace
    expected = f"{{{namespace}}}chargeBoxIdentity"
    headers = [element.qname.text for _, element in operation.input.header.type.elements]
    if headers != [expected]:
        raise ValueError(f"{operation.name}: the input's headers are {headers}, expected {expected}")
    return Operation(
        action=operation.name,
        service=service,
        namespace=namespace,
        request_element=request.qname.localname,
        response_element=response.qname.localname,
        request_action=request_action,
        response_action=response_action,
        request=_fields(request.type, request.qname.localname, simple_types),
        response=_fields(response.type, response.qname.localname, simple_types),
    )


def _fields(complex_type: Any, path: str, simple_types: dict[str, _Element]) -> tuple[Field, ...]:
    """The fields of a complex type: one plain sequence, or text with attributes. *path* is for errors."""
    from zeep import xsd

    # Text beside attributes is to zeep an element of its own making in the place of a sequence.
    if [type(group) for _, group in complex_type.elements_nested] == [xsd.Element]:
        return _text_and_attributes(complex_type, path, simple_types)
    if complex_type.attributes:
        raise ValueError(f"{path}: attributes beside elements have no place in a shape")
    fields: list[Field] = []
    for _, group in complex_type.elements_nested:
        if not isinstance(group, xsd.Sequence) or (group.min_occurs, group.max_occurs) != (1, 1):
            raise ValueError(f"{path}: {type(group).__name__} where one xs:sequence was expected")
        for element in group:
            if not isinstance(element, xsd.Element):
                raise ValueError(f"{path}: {type(element).__name__} where an xs:element was expected")
            fields.append(_field(element, f"{path}.{element.qname.localname}", simple_types))
    return tuple(fields)


def _field(element: Any, path: str, simple_types: dict[str, _Element]) -> Field:
    from zeep import xsd

    name, min_items = element.qname.localname, element.min_occurs
    max_items = None if element.max_occurs == "unbounded" else element.max_occurs
    if isinstance(element.type, xsd.ComplexType):
        fields = _fields(element.type, path, simple_types)
        type_name = element.type.qname.localname
        return Field(name, "object", type_name, min_items, max_items, fields=fields)
    return _plain(name, element.type, path, simple_types, min_items=min_items, max_items=max_items)


def _text_and_attributes(
    complex_type: Any, path: str, simple_types: dict[str, _Element]
) -> tuple[Field, ...]:
    """The text first, named as OCPP-J 1.5 and every later OCPP name it, then the attributes."""
    [(_, text)] = complex_type.elements_nested
    fields = [_plain("value", text.type, path, simple_types, place="text")]
    for name, attribute in complex_type.attributes:
        where = f"{path}.@{name}"
        if attribute.required or attribute.default is not None:
            raise ValueError(f"{where}: a required attribute, or one with a default, has no place in a shape")
        field = _plain(name, attribute.type, where, simple_types, min_items=0, place="attribute")
        if not field.enum:
            raise ValueError(f"{where}: an attribute that is no enumeration has no place in a shape")
        fields.append(field)
    return tuple(fields)


def _plain(
    name: str,
    xsd_type: Any,
    path: str,
    simple_types: dict[str, _Element],
    *,
    min_items: int = 1,
    max_items: int | None = 1,
    place: Place = "element",
) -> Field:
    from zeep import xsd

    type_name = xsd_type.qname.localname
    kind = next((kind for base, kind in KINDS.items() if isinstance(xsd_type, getattr(xsd, base))), None)
    if kind is None:
        raise ValueError(f"{path}: {type_name} is not, and restricts none of, {', '.join(KINDS)}")
    if xsd_type.qname.namespace == XS.strip("{}"):
        return Field(name, kind, type_name, min_items, max_items, place=place)
    if type_name not in simple_types:
        raise ValueError(f"{path}: its type needs a name of its own")
    facets = _facets(simple_types, type_name)
    return Field(name, kind, type_name, min_items, max_items, place=place, **facets)


def _facets(simple_types: dict[str, _Element], type_name: str) -> dict[str, Any]:
    """The facets of a simple type as arguments of Field, those of the types it restricts included.

    The types of a service share one namespace, so that the local name is enough.
    """
    restriction = simple_types[type_name].find(f"{XS}restriction")
    assert restriction is not None  # zeep knows it as a kind of string or number: no list, no union
    base = restriction.get("base", "").rpartition(":")[2]
    facets = _facets(simple_types, base) if base in simple_types else {}
    values: dict[str, list[str]] = {}
    for facet in restriction.iterchildren(f"{XS}*"):
        values.setdefault(str(facet.tag).removeprefix(XS), []).append(facet.get("value", ""))
    for facet_name, found in values.items():
        match facet_name:
            case "maxLength":
                facets["max_length"] = int(found[0])
            case "fractionDigits":
                facets["fraction_digits"] = int(found[0])
            case "enumeration":
                facets["enum"] = tuple(found)
            case "annotation":
                pass
            case _:
                raise ValueError(f"{type_name}: xs:{facet_name} has no place in a shape")
    return facets
