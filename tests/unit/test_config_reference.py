"""docs/reference.md describes every configuration key and component argument as the code has it."""

from components.plan.flags import DEFAULT_QUOTA, METRICS_LOOPBACK
from components.plan.spec import DEFAULT_DATA_DIRECTORY
from stacks import config, keys, reference


def test_the_reference_is_what_the_code_would_write() -> None:
    document = reference.FILE.read_text(encoding="utf-8")
    assert reference.render(document) == document, "run: python3 -m stacks.reference"


def test_every_key_has_a_meaning_and_either_a_default_or_a_reason_to_have_none() -> None:
    assert len({key.path for key in keys.KEYS}) == len(keys.KEYS)
    for key in keys.KEYS:
        assert key.meaning.endswith("."), key.path
        assert not (key.required and key.default), key.path
        types = (keys.TEXT, keys.INTEGER, keys.BOOLEAN, keys.TEXTS, keys.OBJECT, keys.LIST, keys.MAP)
        assert key.type in types, key.path


def test_every_key_lies_in_an_object_of_the_table() -> None:
    for key in keys.KEYS:
        parent = key.path.rpartition(".")[0].removesuffix("[]")
        assert not parent or keys.BY_PATH[parent].type in (keys.OBJECT, keys.LIST), key.path


def test_stated_defaults_are_the_ones_in_use() -> None:
    defaults = config.CertificatesConfig()
    for name, value in (
        ("certificates.validityHours", defaults.validity_hours),
        ("certificates.earlyRenewalHours", defaults.early_renewal_hours),
        ("certificates.caValidityHours", defaults.ca_validity_hours),
        ("dataDirectory", DEFAULT_DATA_DIRECTORY),
        ("quota", DEFAULT_QUOTA),
        ("metrics", METRICS_LOOPBACK),
    ):
        assert keys.BY_PATH[name].default.split(" ")[0] == str(value), name


def test_every_field_of_the_arguments_is_documented() -> None:
    text = reference.generated()["arguments"]
    for names in reference.ARGUMENTS.values():
        for name in names:
            assert f"### {name}\n" in text
    assert "| `heartbeat_interval_ms` |" in text
