"""An asset of a sequence is made of one slug, which is a text."""

import pytest

from airflow_provider_meisa.assets import meisa_sequence


@pytest.mark.parametrize("slug", [7, None, ["onboarding"], b"onboarding", True], ids=repr)
def test_a_slug_that_is_no_text_is_refused(slug):
    with pytest.raises(
        ValueError, match=f"The slug is of type {type(slug).__name__}; give one slug as a text"
    ):
        meisa_sequence(slug)
