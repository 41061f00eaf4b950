"""Counts and ranges as a sentence has them."""

from unveil.words import counted, spanned


def test_one_is_no_plural_and_a_range_of_one_number_none():
    assert [counted(n, "image") for n in (0, 1, 2500)] == ["0 images", "1 image", "2,500 images"]
    assert counted(2, "process", "processes") == "2 processes"
    assert (spanned(64, 64), spanned(64, 96.5)) == ("64", "64 to 96.5")
