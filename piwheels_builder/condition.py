"""How a builder's machine fares, as the builder tells it with each heartbeat."""

from dataclasses import dataclass

#: Degrees Celsius from which the firmware of a Pi slows its processor down.
#: https://www.raspberrypi.com/documentation/computers/raspberry-pi.html#frequency-management-and-thermal-control
TOO_HOT = 80.0


@dataclass(frozen=True)
class Condition:
    """At one moment; None is unknown. ``temperature`` is the processor's, in degrees Celsius; memory and disk are in bytes.

    ``memory_free`` is what can be had without swapping; ``throttled`` says that the firmware keeps the processor below its speed,
    ``under_voltage`` that its power supply is too weak. ``disk_free`` is of the disk that holds the builder's state.
    """

    temperature: float | None = None
    memory_free: int | None = None
    memory_total: int | None = None
    throttled: bool | None = None
    under_voltage: bool | None = None
    disk_free: int | None = None

    @property
    def trouble(self) -> tuple[str, ...]:
        """What a person should mend, in words; nothing where all is well or unknown."""
        found = {
            "too hot": self.temperature is not None and self.temperature >= TOO_HOT,
            "throttled": self.throttled,
            "under voltage": self.under_voltage,
        }
        return tuple(words for words, is_so in found.items() if is_so)


UNKNOWN = Condition()
