"""What this machine has: memory, how much of it builds may take, and processors; and how it fares."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from piwheels_builder.builder.disk import free_bytes
from piwheels_builder.condition import Condition

#: Kept from builds: for the system, this service, the way in by ssh. At least so much, on larger machines so large a part.
_LEAST_RESERVE = 128 * 2**20
_RESERVED_PART = 1 / 16
#: Thousandths of a degree Celsius (the kernel's Documentation/ABI/testing/sysfs-class-thermal).
_TEMPERATURE = "sys/class/thermal/thermal_zone0/temp"
#: Of Raspberry Pi's own kernels, in hexadecimal: what the firmware said in the last seconds. That of a Pi 5 is soc@107c000000.
_FLAGS = "sys/devices/platform/soc*/soc*:firmware/get_throttled"
#: Its bits for this moment: https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
_UNDER_VOLTAGE = 1 << 0
_CAPPED_THROTTLED_OR_WARM = 1 << 1 | 1 << 2 | 1 << 3
#: Of every kernel's driver, which asks the firmware every two seconds (Documentation/hwmon/raspberrypi-hwmon.rst).
_HARDWARE_MONITORS = "sys/class/hwmon/hwmon*/name"
_PI_VOLTAGE, _VOLTAGE_ALARM = "rpi_volt", "in0_lcrit_alarm"

_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Memory:
    """In bytes. ``available`` is what can be had without swapping (proc(5): MemAvailable)."""

    total: int
    available: int


def memory(meminfo: Path = Path("/proc/meminfo")) -> Memory:
    """Read now, of the machine that we run on."""
    fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    return Memory(total=_bytes(fields["MemTotal"]), available=_bytes(fields["MemAvailable"]))


def memory_within(most_mb: int | None) -> Memory:
    """The same, where no more than so many MB are for builds and the system; None: all of it."""
    now = memory()
    return now if most_mb is None else replace(now, total=min(now.total, most_mb << 20))


def reserve(total: int) -> int:
    """Bytes that builds leave alone on a machine with ``total`` bytes of memory."""
    return int(max(_LEAST_RESERVE, total * _RESERVED_PART))


def most_for_builds(total: int | None = None) -> int:
    """Bytes that builds may use together on a machine with ``total`` bytes of memory; None is this machine."""
    total = memory().total if total is None else total
    return max(total - reserve(total), total // 2)


def condition(state_dir: Path, root: Path = Path("/")) -> Condition:
    """Read now, as any user may; ``root`` is where sys and proc are. Raises nothing: what cannot be read is unknown."""
    degrees = _known(lambda: int((root / _TEMPERATURE).read_text()) / 1000)
    flags = _known(lambda: int(next(root.glob(_FLAGS)).read_text(), 16))
    alarm = _known(lambda: _voltage_alarm(root))
    has = _known(lambda: memory(root / "proc/meminfo"))
    return Condition(
        temperature=degrees,
        memory_free=has.available if has else None,
        memory_total=has.total if has else None,
        throttled=None if flags is None else bool(flags & _CAPPED_THROTTLED_OR_WARM),
        under_voltage=alarm if alarm is not None or flags is None else bool(flags & _UNDER_VOLTAGE),
        disk_free=_known(lambda: free_bytes(state_dir)),
    )


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def is_low(now: Memory) -> bool:
    """Whether so little memory is left that no build may start, and one of several must go."""
    return now.available < reserve(now.total) // 2


def _known(read: Callable[[], _Read]) -> _Read | None:
    try:
        return read()
    except (OSError, LookupError, StopIteration, ValueError):
        return None


def _voltage_alarm(root: Path) -> bool:
    """What the driver says. Raises StopIteration where there is none, OSError, ValueError."""
    monitor = next(name.parent for name in root.glob(_HARDWARE_MONITORS) if name.read_text().strip() == _PI_VOLTAGE)
    return bool(int((monitor / _VOLTAGE_ALARM).read_text()))


def _bytes(field: str) -> int:
    return int(field.split(maxsplit=1)[0]) * 1024
