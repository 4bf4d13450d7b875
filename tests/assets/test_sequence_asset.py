"""The asset of a sequence, as Airflow knows it: whoever writes it, and however, it is the same."""

from urllib.parse import urlsplit

import pytest
from airflow.sdk import Asset

from airflow_provider_meisa.assets import meisa_contacts, meisa_sequence
from airflow_provider_meisa.assets.sequences import convert_asset_to_openlineage, sanitize_uri


@pytest.mark.parametrize(
    "uri",
    [
        "meisa://sequences/onboarding",
        "meisa://sequences/onboarding/",
        "MEISA://Sequences/onboarding",
        "meisa://sequences/%6Fnboarding",
        "meisa://sequences/onboarding#fragment",
    ],
)
def test_every_spelling_of_a_sequence_is_one_asset(uri):
    assert Asset(uri=uri).uri == meisa_sequence("onboarding").uri == "meisa://sequences/onboarding"
    assert meisa_sequence("onboarding") == Asset("meisa://sequences/onboarding")


@pytest.mark.parametrize("slug", ["Black Friday", "ünlü", "a/b", "a?b#c", "50%", "%41", "a@b"])
def test_a_slug_of_any_characters_comes_back_from_its_asset(slug):
    asset = meisa_sequence(slug)
    assert asset.uri.isascii()
    assert Asset(uri=asset.uri) == asset
    assert converted(asset) == ("meisa", f"sequences/{slug}")


@pytest.mark.parametrize(
    "uri",
    [
        "meisa://onboarding",
        "meisa://sequences",
        "meisa://sequences/",
        "meisa:///sequences/onboarding",
        "meisa:sequences/onboarding",
        "meisa://sequences/onboarding/2",
        "meisa://sequences/onboarding?status=active",
        "meisa://people/onboarding",
    ],
)
def test_what_names_no_sequence_is_refused_where_the_dag_is_parsed_and_the_message_helps(uri):
    with pytest.raises(ValueError, match=r"Write meisa_sequence\('<slug>'\)"):
        Asset(uri=uri)


@pytest.mark.parametrize("slug", ["", " ", " onboarding", "{{ params.slug }}", "{% if x %}a{% endif %}"])
def test_what_is_no_slug_is_refused_where_the_dag_is_parsed(slug):
    with pytest.raises(ValueError, match="slug"):
        meisa_sequence(slug)


def test_a_template_in_a_uri_is_refused_too():
    with pytest.raises(ValueError, match="AssetAlias"):
        sanitize_uri(urlsplit("meisa://sequences/{{ params.slug }}"))


def converted(asset):
    """Convert an asset as OpenLineage's provider does, which finds the converter in our description."""
    from airflow.providers.openlineage.utils.utils import translate_airflow_asset

    dataset = translate_airflow_asset(asset, None)
    return dataset.namespace, dataset.name


def test_contacts_of_a_sync_are_an_asset():
    asset = meisa_contacts("EU users")
    assert asset.uri == "meisa://contacts/EU%20users"
    assert convert_asset_to_openlineage(asset, None).name == "contacts/EU users"
