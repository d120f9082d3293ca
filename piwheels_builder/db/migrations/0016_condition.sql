-- How each builder's machine fares, as it said with its last heartbeat; null is unknown.

-- A function whose arguments change is made again after this.
DROP FUNCTION IF EXISTS heartbeat(uuid[], bigint[], interval, boolean, uuid);

-- temperature is the processor's, in degrees Celsius; memory and disk are in bytes, memory_free what can be had without swapping,
-- disk_free of the disk that holds the builder's state. throttled: the firmware keeps the processor below its speed; under_voltage: its
-- power supply is too weak.
ALTER TABLE builder
    ADD COLUMN temperature   double precision CONSTRAINT temperature_is_sane CHECK (temperature BETWEEN -100 AND 200),
    ADD COLUMN memory_free   bigint CONSTRAINT memory_free_is_sane CHECK (memory_free BETWEEN 0 AND 1::bigint << 50),
    ADD COLUMN memory_total  bigint CONSTRAINT memory_total_is_sane CHECK (memory_total BETWEEN 0 AND 1::bigint << 50),
    ADD COLUMN disk_free     bigint CONSTRAINT disk_free_is_sane CHECK (disk_free BETWEEN 0 AND 1::bigint << 50),
    ADD COLUMN throttled     boolean,
    ADD COLUMN under_voltage boolean;
