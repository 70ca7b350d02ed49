"""What a reflectometer writes, read back by the library that others read .SOR files with."""

from __future__ import annotations

import numpy as np
import otdrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.port import Identity
from drivers.simulated.fibre import Event, Fibre
from drivers.simulated.plant import PlaceError, Plant, Plugs, Sink
from drivers.simulated.sor import crc16, trace
from drivers.simulated.virtual import VirtualClock

OTDR = Identity("VIAVI", "MTS-8000", "SIM-OTDR-1", "1")


def fibre_plant(km: float, events: list[Event], *, seed: int = 1) -> tuple[Plant, Fibre]:
    plant = Plant(VirtualClock(), seed, Plugs(0.2, 0.02))
    plant.add(Sink("otdr", ("out",), two_way=True))
    fibre = plant.add(Fibre("line-1", km, events=events))
    plant.patch("otdr:out", "line-1:a")
    return plant, fibre


@settings(max_examples=25, deadline=None)
@given(
    st.floats(2.0, 120.0),
    st.lists(st.tuples(st.floats(0.1, 0.9), st.floats(0.05, 1.0)), max_size=4),
    st.integers(0, 1 << 20),
)
def test_time_of_flight_and_losses_read_back_are_the_fibres(
    km: float, where: list[tuple[float, float]], seed: int
) -> None:
    places = sorted({round(share, 1): loss for share, loss in where}.items())
    plant, fibre = fibre_plant(km, [Event(share * km, loss) for share, loss in places], seed=seed)
    octets = trace(plant, "otdr:out", OTDR, span_m=150_000, pulse_s=100e-9)
    read = otdrs.parse_bytes(octets)
    assert read.key_events is not None
    last = read.key_events.last_key_event
    assert abs(last.event_propogation_time * 100e-12 - fibre.true_flight_s) <= 100e-12
    assert last.event_code[1] == "E"
    inner = read.key_events.key_events[1:]
    assert len(inner) == len(places)
    for event, (share, loss) in zip(inner, places, strict=True):
        assert event.event_loss / 1000 == pytest.approx(loss, abs=0.06)
        assert abs(event.event_propogation_time * 100e-12 - share * fibre.true_flight_s) <= 100e-12
        assert event.attenuation_coefficient_lead_in_fiber == 200


def test_a_reader_finds_the_checksum_good_and_everything_said_to_be_simulated() -> None:
    plant, _ = fibre_plant(10.0, [])
    octets = trace(plant, "otdr:out", OTDR)
    read = otdrs.parse_bytes(octets)
    assert str(read.validate_checksum(octets).status).endswith("Valid")
    assert read.supplier_parameters is not None
    assert read.supplier_parameters.otdr_mainframe_sn.startswith("SIM-")
    assert "simulated" in read.supplier_parameters.other
    assert crc16(b"123456789") == 0x29B1, "known answer of this CRC"


def test_a_reel_behind_the_fibre_moves_its_end_by_the_reel() -> None:
    plant, fibre = fibre_plant(40.0, [Event(12.3, 0.08), Event(25.0, 0.3, -48.0)])
    reel = plant.add(Fibre("reel-1", 1.0))
    plant.patch("line-1:b", "reel-1:a")
    read = otdrs.parse_bytes(trace(plant, "otdr:out", OTDR))
    assert read.key_events is not None
    end = read.key_events.last_key_event.event_propogation_time * 100e-12
    assert end == pytest.approx(fibre.true_flight_s + reel.true_flight_s, abs=100e-12)
    joint = read.key_events.key_events[-1]
    assert joint.event_propogation_time * 100e-12 == pytest.approx(fibre.true_flight_s, abs=100e-12)
    assert joint.event_code[0] == "1"


def test_from_the_other_end_events_lie_the_other_way_round() -> None:
    plant, fibre = fibre_plant(40.0, [Event(10.0, 0.5)])
    plant.patch("otdr:out", "line-1:b")
    read = otdrs.parse_bytes(trace(plant, "otdr:out", OTDR))
    assert read.key_events is not None
    splice = read.key_events.key_events[1]
    assert splice.event_propogation_time * 100e-12 == pytest.approx(0.75 * fibre.true_flight_s, abs=100e-12)


def test_a_cut_ends_the_trace_where_it_is() -> None:
    plant, fibre = fibre_plant(40.0, [Event(10.0, 0.5), Event(30.0, 0.5)])
    plant.cut("line-1", on=True)
    read = otdrs.parse_bytes(trace(plant, "otdr:out", OTDR))
    assert read.key_events is not None
    last = read.key_events.last_key_event
    assert last.event_propogation_time * 100e-12 == pytest.approx(fibre.true_flight_s / 2, abs=100e-12)
    assert last.event_reflectance == -14_700
    assert len(read.key_events.key_events) == 2


def test_a_fibre_beyond_the_range_has_no_end() -> None:
    plant, _ = fibre_plant(100.0, [])
    read = otdrs.parse_bytes(trace(plant, "otdr:out", OTDR, span_m=50_000))
    assert read.key_events is not None
    assert read.key_events.last_key_event.event_code[1] == "O"


def test_events_within_a_pulse_are_one() -> None:
    plant, _ = fibre_plant(20.0, [Event(10.0, 0.3), Event(10.02, 0.4, -50.0)])
    wide = otdrs.parse_bytes(trace(plant, "otdr:out", OTDR, pulse_s=1e-6))
    narrow = otdrs.parse_bytes(trace(plant, "otdr:out", OTDR, pulse_s=10e-9))
    assert wide.key_events is not None
    assert narrow.key_events is not None
    assert len(narrow.key_events.key_events) == len(wide.key_events.key_events) + 1
    merged = wide.key_events.key_events[1]
    assert merged.event_loss / 1000 == pytest.approx(0.7, abs=0.05)
    assert merged.event_reflectance == -50_000


def test_backscatter_falls_by_the_attenuation_and_ends_in_noise() -> None:
    plant, fibre = fibre_plant(40.0, [])
    read = otdrs.parse_bytes(trace(plant, "otdr:out", OTDR))
    assert read.data_points is not None
    assert read.fixed_parameters is not None
    down = np.array(read.data_points.scale_factors[0].data) / 1000
    step_s = read.fixed_parameters.data_spacing[0] * 1e-10 / 10_000
    at = (np.array([5.0, 35.0]) * 1000 * fibre.group_index / 299_792_458 / step_s).astype(int)
    near, far = (down[i - 100 : i + 100].mean() for i in at)
    assert far - near == pytest.approx(30 * 0.2, abs=0.05)
    end = int(fibre.true_flight_s / step_s)
    assert np.median(down[end + 200 :]) > 30


def test_a_clock_error_stretches_every_time() -> None:
    plant, fibre = fibre_plant(40.0, [])
    read = otdrs.parse_bytes(trace(plant, "otdr:out", OTDR, timebase_ppm=20.0))
    assert read.key_events is not None
    end = read.key_events.last_key_event.event_propogation_time * 100e-12
    assert end / fibre.true_flight_s - 1 == pytest.approx(20e-6, abs=1e-6)


def test_nothing_plugged_in_is_an_end_at_once() -> None:
    plant, _ = fibre_plant(40.0, [])
    plant.unpatch("otdr:out")
    read = otdrs.parse_bytes(trace(plant, "otdr:out", OTDR))
    assert read.key_events is not None
    assert read.key_events.last_key_event.event_propogation_time == 0
    with pytest.raises(PlaceError):
        trace(plant, "otdr:nowhere", OTDR)
