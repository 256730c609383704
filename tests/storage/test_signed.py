"""JSON that tells whether it is what was written."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgg_jax.storage import signed

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
CONTENT = st.dictionaries(st.text(), JSON, min_size=1)


def same(one, other):
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@given(content=CONTENT)
def test_what_was_signed_is_verified(content):
    read = json.loads(json.dumps(signed.sign(content), indent=2))
    assert signed.verify(read)
    content.pop("sha256", None)
    assert same(read, content)


@given(content=CONTENT, data=st.data())
@settings(deadline=None)
def test_no_other_content_is_verified(content, data):
    text = json.dumps(signed.sign(content)).encode()
    bit = data.draw(st.integers(0, 8 * len(text) - 1))
    changed = bytearray(text)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        read = json.loads(changed)
        is_signed = signed.verify(read)
    except ValueError:
        return
    assert not is_signed or same(read, content)


def test_what_never_had_a_checksum_is_told():
    assert not signed.verify({"a": 1})
    assert signed.verify(signed.sign(signed.sign({"a": 1})))


@pytest.mark.parametrize("content", [None, 3, "x", [], [{"sha256": ""}]])
def test_it_must_be_an_object(content):
    with pytest.raises(ValueError, match="no object of JSON"):
        signed.verify(content)
