import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fastkd.market import CandleError, Candles, synthetic_market

HEADER = "start_ms,open,high,low,close,volume"
ROW = "0,2,4,1,3,10"


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def same_bits(a, b):
    return all(
        getattr(a, name).tobytes() == getattr(b, name).tobytes()
        for name in ("start_ms", "open", "high", "low", "close", "volume", "turnover")
    )


@given(arrays(np.float64, (6, 3), elements=st.floats(allow_nan=False)), st.sampled_from(["c.csv", "c.csv.gz"]))
def test_any_numbers_come_back_bit_for_bit(tmp_path_factory, values, name):
    path = tmp_path_factory.mktemp("csv") / name
    candles = Candles([0, 60_000, 2**52], *values)
    candles.to_csv(path)
    assert same_bits(Candles.read_csv(path), candles)


def test_turnover_is_written_unless_unknown_throughout(tmp_path):
    path = tmp_path / "c.csv"
    market = synthetic_market(3, random_state=0)
    market.to_csv(path)
    assert path.read_text().startswith(HEADER + ",turnover\n")
    assert same_bits(Candles.read_csv(path), market)
    columns = [market.start_ms, market.open, market.high, market.low, market.close, market.volume]
    Candles(*columns).to_csv(path)
    assert path.read_text().startswith(HEADER + "\n")
    Candles(*columns, [np.nan, 1.0, 2.0]).to_csv(path)
    assert np.isnan(Candles.read_csv(path).turnover).tolist() == [True, False, False]


def test_whole_numbers_are_written_short_and_gzip_has_no_time_stamp(tmp_path):
    candles = Candles([0], [2.0], [40.0], [1.05], [3.0], [10.0])
    candles.to_csv(tmp_path / "a.csv.gz")
    candles.to_csv(tmp_path / "b.csv.gz")
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()).decode() == f"{HEADER}\n0,2,40,1.05,3,10\n"


def test_failing_to_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "c.csv"
    synthetic_market(3, random_state=0).to_csv(path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        synthetic_market(4, random_state=0).to_csv(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_columns_in_any_order_others_ignored(tmp_path):
    path = write(tmp_path / "c.csv", "note, close,volume,open,high,low,start_ms", "some_text,3,10,2,4,1,60000")
    candle = Candles.read_csv(path, symbol="XY", interval="1")[0]
    assert candle[:6] == (60_000, 2.0, 4.0, 1.0, 3.0, 10.0)


def test_byte_order_mark_carriage_returns_and_missing_last_newline(tmp_path):
    path = tmp_path / "c.csv"
    path.write_bytes(f"\ufeff{HEADER}\r\n{ROW}\r\n60000,2,4,1,3,10".encode())
    assert Candles.read_csv(path).start_ms.tolist() == [0, 60_000]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([""], "the file is empty"),
        ([HEADER], "the file has a header but no candles"),
        (["start_ms,open,high,low,volume", ROW], "line 1: column 'close' is missing"),
        ([HEADER + ",open", ROW + ",1"], "line 1: column 'open' appears twice"),
        ([HEADER, ROW, "1,2,3,4,5"], "line 3: expected 6 fields, found 5"),
        ([HEADER, ROW, "", ROW], "line 3: expected 6 fields, found 1"),
        ([HEADER, ROW, ROW, "0,2,4,1,abc,10"], "line 4: column 'close': expected a number, found 'abc'"),
        ([HEADER, "0,2,,1,3,10"], "line 2: column 'high': expected a number, found ''"),
        ([HEADER, "0,2,1_0,1,3,10"], "line 2: column 'high': expected a number, found '1_0'"),
        ([HEADER, '0,2,"4",1,3,10'], "line 2: column 'high': expected a number"),
        ([HEADER, "0,2,4 #,1,3,10"], "line 2: column 'high': expected a number"),
        ([HEADER, ROW, "0.5,2,4,1,3,10"], "line 3: column 'start_ms': expected whole milliseconds, found '0.5'"),
        ([HEADER, "nan,2,4,1,3,10"], "line 2: column 'start_ms': expected whole milliseconds, found 'nan'"),
        ([HEADER, "1e300,2,4,1,3,10"], "line 2: column 'start_ms': expected whole milliseconds, found '1e300'"),
    ],
)
def test_faults_are_named_with_file_line_and_column(tmp_path, lines, message):
    path = write(tmp_path / "c.csv", *lines)
    with pytest.raises(CandleError) as raised:
        Candles.read_csv(path)
    assert str(raised.value).startswith(f"{path}: {message}")
    assert "\n" not in str(raised.value)


def test_damaged_gzip_files_are_refused(tmp_path):
    path = tmp_path / "c.csv.gz"
    synthetic_market(500, random_state=0).to_csv(path)
    whole = path.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 12, 2):
        path.write_bytes(whole[:length])
        with pytest.raises(CandleError, match="truncated"):
            Candles.read_csv(path)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    for bad in (bytes(flipped), b"plain text", whole[:-8] + b"\0" * 8):
        path.write_bytes(bad)
        with pytest.raises(CandleError, match="not a valid gzip file"):
            Candles.read_csv(path)
    path.write_bytes(b"")
    with pytest.raises(CandleError, match="empty"):
        Candles.read_csv(path)


def test_a_gzip_file_without_the_suffix_gets_a_hint(tmp_path):
    path = tmp_path / "c.csv"
    path.write_bytes(gzip.compress(b"x"))
    with pytest.raises(CandleError, match=r"named \.gz"):
        Candles.read_csv(path)


def test_a_missing_file_is_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        Candles.read_csv(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("30000,2,4,1,3,10", "line 4: start_ms is earlier than in the row before"),
        ("60000,2,4,1,3,10", "line 4: start_ms is a duplicate of an earlier row"),
        ("120000,2,2,1,3,10", r"line 4: high is below max(open, close)"),
    ],
)
def test_strict_reading_refuses_what_plain_reading_reports(tmp_path, row, message):
    path = write(tmp_path / "c.csv", HEADER, "0,2,4,1,3,10", "60000,2,4,1,3,10", row)
    assert not Candles.read_csv(path).check().ok
    with pytest.raises(CandleError) as raised:
        Candles.read_csv(path, strict=True)
    assert str(raised.value) == f"{path}: {message}"


def test_strict_reading_accepts_gaps(tmp_path):
    path = write(tmp_path / "c.csv", HEADER, "0,2,4,1,3,10", "60000,2,4,1,3,10", "180000,2,4,1,3,10")
    assert Candles.read_csv(path, strict=True).check().n_missing == 1


def test_seconds_are_told_from_milliseconds(tmp_path):
    path = tmp_path / "seconds.csv"
    path.write_text("start_ms,open,high,low,close,volume\n1704067200,1,2,0.5,1,3\n1704067260,1,2,0.5,1,3\n")
    with pytest.raises(CandleError, match="seconds"):
        Candles.read_csv(path, strict=True)
