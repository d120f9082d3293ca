"""How a machine fares, read from the files that Linux shows it in."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from piwheels_builder.builder.machine import condition, memory
from piwheels_builder.condition import Condition

MEMINFO = "MemTotal:        3884376 kB\nMemFree:          100 kB\nMemAvailable:    2884376 kB\n"
FLAGS = "sys/devices/platform/soc/soc:firmware/get_throttled"
#: A Pi 4 with Raspberry Pi OS, and another monitor before the firmware's.
PI = {
    "sys/class/thermal/thermal_zone0/temp": "61835\n",
    "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
    "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
    "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0\n",
    FLAGS: "0\n",
    "proc/meminfo": MEMINFO,
}


def read(root: Path, files: Mapping[str, str]) -> Condition:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return condition(root, root)


def test_a_pi_that_fares_well(tmp_path: Path) -> None:
    found = read(tmp_path, PI)
    assert (found.temperature, found.throttled, found.under_voltage) == (61.835, False, False)
    assert (found.memory_free, found.memory_total) == (2884376 * 1024, 3884376 * 1024)
    assert found.disk_free is not None
    assert found.disk_free > 0
    assert found.trouble == ()


@pytest.mark.parametrize(
    ("flags", "throttled", "under_voltage"),
    [
        ("50005\n", True, True),
        ("1\n", False, True),
        ("2\n", True, False),
        ("e0008\n", True, False),
        # It was so before, and is no more.
        ("50000\n", False, False),
    ],
)
@pytest.mark.parametrize("where", [FLAGS, "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"])
def test_what_the_firmware_says(tmp_path: Path, where: str, flags: str, throttled: bool, under_voltage: bool) -> None:
    found = read(tmp_path, {where: flags})
    assert (found.throttled, found.under_voltage) == (throttled, under_voltage)


@pytest.mark.parametrize(("alarm", "under_voltage"), [("1\n", True), ("0\n", False), ("", False)])
def test_the_voltage_is_known_by_the_drivers_alarm_first(tmp_path: Path, alarm: str, under_voltage: bool) -> None:
    found = read(tmp_path, {**PI, "sys/class/hwmon/hwmon1/in0_lcrit_alarm": alarm})
    assert (found.throttled, found.under_voltage) == (False, under_voltage)


def test_debians_kernel_tells_the_voltage_alone(tmp_path: Path) -> None:
    files = {name: content for name, content in PI.items() if name != FLAGS}
    found = read(tmp_path, {**files, "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n"})
    assert (found.throttled, found.under_voltage, found.trouble) == (None, True, ("under voltage",))


def test_what_is_absent_is_unknown(tmp_path: Path) -> None:
    assert condition(tmp_path / "absent", tmp_path) == Condition()


@pytest.mark.parametrize("content", ["", "hot", "\xff\n", "-"])
def test_what_makes_no_sense_is_unknown(tmp_path: Path, content: str) -> None:
    found = read(tmp_path, dict.fromkeys(PI, content))
    assert found == Condition(disk_free=found.disk_free)


@pytest.mark.parametrize(("degrees", "trouble"), [(79.9, ()), (80.0, ("too hot",)), (95.5, ("too hot",))])
def test_a_pi_is_too_hot_where_it_throttles(degrees: float, trouble: tuple[str, ...]) -> None:
    assert Condition(temperature=degrees).trouble == trouble
    assert Condition(temperature=degrees, throttled=True, under_voltage=True).trouble == (*trouble, "throttled", "under voltage")


def test_this_machine() -> None:
    found = condition(Path("/"))
    assert found.memory_total == memory().total
    assert found.disk_free is not None
