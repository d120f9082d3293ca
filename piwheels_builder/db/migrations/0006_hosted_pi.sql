-- Pis that are hired: what was ordered, and what became of it.

-- Written before a Pi is ordered, so that none that costs money is forgotten, whatever dies at whatever moment. A name is never given
-- a second time: another machine would show another ssh host key. specification is what it was or will be ordered as. ordered_at is
-- the intent; delivered_at is when it was first seen running. cancel_wanted_at is the intent to give it up, cancelled_at is when it
-- had left the account, or when it was given up without ever having been there. failure is the last trouble with it. power_cycles are
-- those that did not help, the last of them at power_cycled_at.
CREATE TABLE hosted_pi (
    name             text PRIMARY KEY,
    specification    jsonb NOT NULL,
    ordered_at       timestamptz NOT NULL DEFAULT now(),
    delivered_at     timestamptz,
    cancel_wanted_at timestamptz,
    cancelled_at     timestamptz,
    failure          text,
    power_cycles     integer NOT NULL DEFAULT 0,
    power_cycled_at  timestamptz,
    CONSTRAINT hosted_pi_is_a_name CHECK (name ~ '^[a-z0-9][a-z0-9-]{1,18}[a-z0-9]$')
);
