"""docs/reference.md describes every configuration key and component argument as the code defines it."""

from components import EtcdClusterArgs
from stacks import key_table, keys, reference
from stacks.arguments import camel_case
from stacks.platforms import PLATFORMS

TABLE = keys.table(PLATFORMS)


def test_the_reference_matches_the_code() -> None:
    documents = [file.read_text(encoding="utf-8") for file in reference.FILES]
    assert [reference.render(document) for document in documents] == documents, "run: python3 -m stacks.reference"
    for name in reference.generated():
        assert sum(f"<!-- begin generated: {name} -->\n" in document for document in documents) == 1


def test_every_key_has_a_meaning_and_a_default_or_a_reason() -> None:
    assert len(TABLE.by_path) == len(TABLE.keys)
    for key in TABLE.keys:
        assert key.meaning.endswith("."), key.path
        assert not (key.required and key.default), key.path
        types = (
            key_table.TEXT,
            key_table.INTEGER,
            key_table.INTEGER_OR_AUTO,
            key_table.BOOLEAN,
            key_table.TEXTS,
            key_table.OBJECT,
            key_table.LIST,
            key_table.MAP,
        )
        assert key.type in types, key.path


def test_every_key_is_in_an_object_of_the_table() -> None:
    for key in TABLE.keys:
        parent = key.path.rpartition(".")[0].removesuffix("[]")
        assert not parent or TABLE.by_path[parent].type in (key_table.OBJECT, key_table.LIST), key.path


def test_every_cluster_argument_has_a_key_and_one_declaration() -> None:
    from_elsewhere = {"members", "previous", "previous_output"}
    for name in set(EtcdClusterArgs.__annotations__) - from_elsewhere:
        assert camel_case(name) in TABLE.by_path, name
    for path in sorted((reference.ROOT / "stacks").rglob("*.py")):
        assert "heartbeat" not in path.read_text(encoding="utf-8").lower() or path.name == "keys.py", path


def test_every_field_of_the_arguments_is_documented() -> None:
    sections = dict(part.split("\n", 1) for part in reference.generated()["arguments"].split("### ")[1:])
    assert "| `heartbeat_interval_ms` |" in sections["EtcdClusterArgs"]
    for name in ("Ssh", "AwsBastionArgs", "AwsMachinesArgs", "HetznerBastionArgs", "HetznerMachinesArgs"):
        assert "| `private_key` |" in sections[name]
    for name in ("AwsSlot", "HetznerSlot"):
        assert "| `generation` |" in sections[name]
