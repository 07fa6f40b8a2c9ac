"""Packed codes of 1, 2, 4 and 8 bits: what goes in comes out, in as few bytes as there can be."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib import mobiletl
from course_lib.lean import pack_bits, pack_codes, packed_size, unpack_bits, unpack_codes


pytestmark = [pytest.mark.lab10, pytest.mark.lab11]

SHAPES = [(), (0,), (0, 3), (1,), (7,), (8,), (3, 5), (2, 3, 11, 1)]
WIDTHS = [1, 2, 4, 8]


def random_codes(shape, bits):
    return torch.randint(1 << bits, shape, dtype=torch.uint8)


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=70))
def test_bits_survive_packing(bits):
    mask = torch.tensor(bits, dtype=torch.bool)
    packed = pack_bits(mask)
    assert packed.dtype == torch.uint8 and packed.numel() == packed_size(len(bits))
    assert torch.equal(unpack_bits(packed, mask.shape), mask)


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,), (7,), (8,), (3, 5), (2, 3, 11, 1)])
def test_bits_of_any_shape(shape):
    mask = torch.rand(shape) > 0.5
    packed = pack_bits(mask)
    assert packed.numel() == -(-mask.numel() // 8)
    assert torch.equal(unpack_bits(packed, shape), mask)


def test_bits_of_views():
    mask = torch.rand(9, 10) > 0.5
    for view in (mask.T, mask[::2], mask[1:, 3:], mask.flatten()[3:19]):
        assert torch.equal(unpack_bits(pack_bits(view), view.shape), view)


def test_first_element_is_the_lowest_bit():
    mask = torch.tensor([True] + [False] * 7 + [True])
    assert pack_bits(mask).tolist() == [1, 1]


def test_bits_refuse_what_they_cannot_hold():
    with pytest.raises(ValueError, match="bool"):
        pack_bits(torch.ones(3))
    with pytest.raises(ValueError, match="uint8"):
        unpack_bits(torch.ones(1), (8,))
    with pytest.raises(ValueError, match="take 2 bytes"):
        unpack_bits(torch.zeros(1, dtype=torch.uint8), (3, 3))


# ---- codes of several bits -----------------------------------------------------------------------


@settings(deadline=None)
@given(st.sampled_from(WIDTHS), st.data())
def test_codes_survive_packing(bits, data):
    codes = data.draw(st.lists(st.integers(0, (1 << bits) - 1), max_size=40))
    codes = torch.tensor(codes, dtype=torch.uint8)
    packed = pack_codes(codes, bits)
    assert packed.dtype == torch.uint8 and packed.numel() == packed_size(len(codes), bits)
    assert torch.equal(unpack_codes(packed, bits, codes.shape), codes)


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("shape", [*SHAPES, (1001,), (4, 197, 3)])
def test_codes_of_any_shape(shape, bits):
    codes = random_codes(shape, bits)
    packed = pack_codes(codes, bits)
    assert packed.shape == (-(-codes.numel() * bits // 8),)
    assert packed.untyped_storage().nbytes() == packed.numel()
    assert torch.equal(unpack_codes(packed, bits, shape), codes)


@pytest.mark.parametrize("bits", WIDTHS)
def test_codes_of_views(bits):
    codes = random_codes((9, 10), bits)
    for view in (codes.T, codes[::2], codes[1:, 3:], codes.flatten()[3:19]):
        assert torch.equal(unpack_codes(pack_codes(view, bits), bits, view.shape), view)


def test_packing_copies():
    codes = random_codes((5,), 8)
    before = codes.clone()
    packed = pack_codes(codes, 8)
    unpack_codes(packed, 8, (5,)).zero_()
    packed.zero_()
    assert torch.equal(codes, before)


def test_layouts_are_as_documented():
    nibbles = torch.tensor([1, 2, 3, 10, 11], dtype=torch.uint8)
    assert pack_codes(nibbles, 4).tolist() == [1 + 16 * 10, 2 + 16 * 11, 3]
    pairs = torch.tensor([1, 2, 3, 0, 3], dtype=torch.uint8)
    assert pack_codes(pairs, 2).tolist() == [1 + 4 * 3 + 16 * 3, 2 + 4 * 0]
    ones = torch.tensor([1, 0, 1, 0, 0, 0, 0, 0, 1], dtype=torch.uint8)
    assert torch.equal(pack_codes(ones, 1), pack_bits(ones.bool()))


@pytest.mark.parametrize("bits", [0, 3, 5, 16, 32])
def test_other_widths_are_refused(bits):
    with pytest.raises(ValueError, match="1, 2, 4 or 8 bits"):
        pack_codes(torch.zeros(3, dtype=torch.uint8), bits)
    with pytest.raises(ValueError, match="1, 2, 4 or 8 bits"):
        unpack_codes(torch.zeros(3, dtype=torch.uint8), bits, (3,))


def test_codes_refuse_what_they_cannot_hold():
    with pytest.raises(ValueError, match="uint8"):
        pack_codes(torch.ones(3), 4)
    with pytest.raises(ValueError, match="uint8"):
        unpack_codes(torch.ones(3), 4, (6,))
    with pytest.raises(ValueError, match="take 5 bytes"):
        unpack_codes(torch.zeros(4, dtype=torch.uint8), 4, (3, 3))


def test_mobiletl_has_the_same_functions():
    assert mobiletl.pack_bits is pack_bits and mobiletl.unpack_bits is unpack_bits
