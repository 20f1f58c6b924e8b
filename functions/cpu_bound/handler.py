"""Nothing but arithmetic: a sieve for integers, planets for floating point. The answer does not depend on the machine."""

from math import sqrt


def handler(event, context):
    primes = sieve(event.get("limit", 10_000))
    return {
        "primes": len(primes),
        "largest_prime": primes[-1],
        # Nine digits: enough to notice an error, few enough for every interpreter's square root.
        "energy": round(simulate(event.get("steps", 100)), 9),
    }


def sieve(limit):
    is_prime = bytearray([1]) * limit
    is_prime[:2] = b"\0\0"
    for n in range(2, int(sqrt(limit)) + 1):
        if is_prime[n]:
            is_prime[n * n :: n] = bytes(len(range(n * n, limit, n)))
    return [n for n in range(limit) if is_prime[n]]


def simulate(steps, dt=0.01):
    """Three bodies as position, velocity and mass; returns their energy, which ought to stay what it was."""
    bodies = [
        [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], 39.0],
        [[4.84, -1.16, -0.10], [0.60, 2.81, -0.02], 0.037],
        [[8.34, 4.12, -0.40], [-1.01, 1.82, 0.008], 0.011],
    ]
    for _ in range(steps):
        for i, (position, velocity, mass) in enumerate(bodies):
            for other_position, other_velocity, other_mass in bodies[i + 1 :]:
                apart = [a - b for a, b in zip(position, other_position)]
                square = sum(d * d for d in apart)
                pull = dt / (square * sqrt(square))
                for axis in range(3):
                    velocity[axis] -= apart[axis] * other_mass * pull
                    other_velocity[axis] += apart[axis] * mass * pull
        for position, velocity, _mass in bodies:
            for axis in range(3):
                position[axis] += dt * velocity[axis]
    return energy(bodies)


def energy(bodies):
    total = 0.0
    for i, (position, velocity, mass) in enumerate(bodies):
        total += mass * sum(v * v for v in velocity) / 2
        for other_position, _velocity, other_mass in bodies[i + 1 :]:
            total -= mass * other_mass / sqrt(sum((a - b) ** 2 for a, b in zip(position, other_position)))
    return total
