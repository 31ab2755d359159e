from audiossl.data.description import _values


def test_of_several_values_each_is_counted_and_of_timed_segments_their_class():
    assert list(_values("bass|drums")) == ["bass", "drums"]
    assert list(_values("0-0.42 pau|0.42-1 e e")) == ["pau", "e e"]
    assert list(_values("1994-2005")) == ["1994-2005"]
