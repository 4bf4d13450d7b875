"""A store in Redis, shared by several hosts; it uses Redis' clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_provider_meisa.api.errors import MeisaInputError, MeisaUnreachableError
from airflow_provider_meisa.api.rate_limit.operations import BackOff, Operation, Reservation, Wait
from airflow_provider_meisa.api.rate_limit.state import (
    FLOOR,
    FULL,
    MARGIN,
    MICRO,
    QUIET,
    SLACK,
    STEP,
    State,
    micros,
)

if TYPE_CHECKING:
    from types import ModuleType

_TIMEOUT = 5.0

# The same decisions as in rate_limit.state, with the same names; tests/api/test_rate_limit_contract.py compares both.
# The log and the open reservations are sorted sets by time, all else is a hash.
# KEYS: log, open, state. ARGV: operation, argument, now or '', ttl, constants, then requests and microseconds
# of each limit. Numbers are sent as text: Lua's `tostring` would round them to 14 digits.
_SCRIPT = """
local LOG, OPEN, STATE = KEYS[1], KEYS[2], KEYS[3]
local operation, argument, ttl = ARGV[1], ARGV[2], tonumber(ARGV[4])
local MARGIN, QUIET, FLOOR = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local SLACK, STEP, FULL = {ARGV[8], ARGV[9]}, {ARGV[10], ARGV[11]}, {ARGV[12], ARGV[13]}
local now = tonumber(ARGV[3])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local limits, depth, longest = {}, 1, 0
for i = 14, #ARGV, 2 do
  local limit = {requests = tonumber(ARGV[i]), seconds = tonumber(ARGV[i + 1])}
  limit.span = limit.seconds + math.min(MARGIN, math.floor(limit.seconds / 200))
  limit.even = math.floor(limit.seconds / limit.requests)
  limits[#limits + 1] = limit
  depth = math.max(depth, limit.requests)
  longest = math.max(longest, limit.seconds)
end

local function text(number) return string.format('%.0f', number) end
local function get(field) return tonumber(redis.call('HGET', STATE, field) or '0') end
local function set(field, number) redis.call('HSET', STATE, field, text(number)) end
local function record(time)
  redis.call('ZADD', LOG, text(time), text(redis.call('HINCRBY', STATE, 'serial', 1)))
end

-- expire
depth = math.max(depth, get('depth'))
set('depth', depth)
for _, member in ipairs(redis.call('ZRANGEBYSCORE', LOG, '(' .. text(now), '+inf')) do
  redis.call('ZADD', LOG, text(now), member)
end
for _, field in ipairs({'granted_at', 'refused_at'}) do
  if get(field) > now then set(field, now) end
end
local expired = redis.call('ZRANGEBYSCORE', OPEN, '-inf', text(now), 'WITHSCORES')
for i = 1, #expired, 2 do
  record(tonumber(expired[i + 1]))
  redis.call('ZREM', OPEN, expired[i])
end
for _, token in ipairs(redis.call('ZRANGEBYSCORE', OPEN, '(' .. text(now + ttl), '+inf')) do
  redis.call('ZADD', OPEN, text(now + ttl), token)
end
if get('interval') > 0 and now >= get('refused_at') + QUIET then set('interval', 0) end

local n_open = redis.call('ZCARD', OPEN)
local function nth(n)  -- time of the n-th last response; that of an open reservation is now at the earliest
  if n <= n_open then return now end
  local found = redis.call('ZRANGE', LOG, n_open - n, n_open - n, 'WITHSCORES')
  return tonumber(found[2] or '-1')
end

local reply = {}
if operation == 'Reserve' then
  local free_at = now
  if not redis.call('ZSCORE', OPEN, argument) then
    free_at = math.max(get('refused_at') + get('back_off_for'), get('granted_at') + get('interval'))
    for _, limit in ipairs(limits) do
      local time = nth(limit.requests)
      if time >= 0 then free_at = math.max(free_at, time + limit.span) end
    end
    if free_at <= now then
      redis.call('ZADD', OPEN, text(now + ttl), argument)
      set('granted_at', now)
    end
  end
  reply = {text(math.max(0, free_at - now))}
elseif operation == 'Commit' then
  redis.call('ZREM', OPEN, argument)
  record(now)
elseif operation == 'Release' then
  redis.call('ZREM', OPEN, argument)
elseif operation == 'BackOff' then
  local refused_at, back_off_for, interval = get('refused_at'), get('back_off_for'), get('interval')
  local asked, wait = tonumber(argument), limits[1].seconds
  if interval == 0 or get('granted_at') > refused_at then
    if now < refused_at + 2 * back_off_for then wait = math.max(wait, math.min(2 * back_off_for, longest)) end
    local slowest, blamed = 0, limits[1]
    for _, limit in ipairs(limits) do
      local enough = math.ceil(limit.requests * FULL[1] / FULL[2])
      local time = nth(enough)
      local is_full = time >= 0 and time > now - limit.span
      if is_full and (asked == 0 or limit.even <= asked) then blamed = limit end
      slowest = math.max(slowest, limit.even)
    end
    interval = math.max(math.floor(blamed.even * SLACK[1] / SLACK[2]), math.floor(interval * STEP[1] / STEP[2]))
    interval = math.min(interval, FLOOR * slowest)
  end
  if asked > 0 then wait = asked + limits[1].even end
  set('back_off_for', math.max(wait, refused_at + back_off_for - now))
  set('refused_at', now)
  set('interval', interval)
end

redis.call('ZREMRANGEBYRANK', LOG, 0, -depth - 1)
for _, key in ipairs(KEYS) do
  local ttl_ms = math.ceil((longest + QUIET + ttl) / 1000)
  if redis.call('PTTL', key) < ttl_ms then redis.call('PEXPIRE', key, text(ttl_ms)) end
end
return reply
"""

_READ = """
local time = redis.call('TIME')
return {string.format('%.0f', time[1] * 1000000 + time[2]), redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'),
        redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES'), redis.call('HGETALL', KEYS[3])}
"""

_CONSTANTS = (MARGIN, QUIET, FLOOR, *SLACK, *STEP, *FULL)


class RedisStorage:
    """Keeps the state of a key in Redis 5 or newer; each operation is one script, which Redis runs atomically.

    :param url: such as ``redis://:password@host:6379/0``, or ``rediss://`` with TLS.
    :param name: a name that does not reveal the key; part of the keys in Redis.
    :param own_clock: use the caller's clock instead of Redis'; for tests.
    :raises MeisaInputError: if the URL cannot be read, or Redis' client is not installed.
    """

    def __init__(self, url: str, name: str, *, own_clock: bool = False) -> None:
        self._redis = _import_redis()
        try:
            client = self._redis.Redis.from_url(
                url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT, decode_responses=True
            )
        except (ValueError, TypeError):
            # Without the cause, which may quote the URL with its password.
            raise MeisaInputError(
                "The Redis URL in rate_limit_storage cannot be read: write redis://:password@host:6379/0."
            ) from None
        self._operate, self._read = client.register_script(_SCRIPT), client.register_script(_READ)
        # The braces keep the three keys on one node of a Redis cluster.
        self._keys = [f"meisa:rate_limit:{{{name}}}:{part}" for part in ("log", "open", "state")]
        self._own_clock = own_clock
        self._client = client
        self._name = name

    def run(self, operation: Operation, clock: Callable[[], float]) -> Reservation | Wait | None:
        """Carry out an operation in Redis.

        :raises MeisaUnreachableError: if Redis cannot be reached or refuses.
        """
        argument = operation.wait if isinstance(operation, BackOff) else operation.token
        now = micros(clock()) if self._own_clock else ""
        limits = [number for limit in operation.limits for number in (limit.requests, micros(limit.seconds))]
        name = type(operation).__name__
        response = self._call(self._operate, [name, argument, now, operation.ttl, *_CONSTANTS, *limits])
        if not response or isinstance(operation, BackOff):
            return None
        wait = int(response[0])
        return Wait(wait / MICRO) if wait else Reservation(operation.token)

    def read(self, clock: Callable[[], float]) -> tuple[State, int]:
        """Return the state and Redis' time in microseconds.

        :raises MeisaUnreachableError: if Redis cannot be reached or refuses.
        """
        now, times, slots, fields = self._call(self._read, [])
        return _state_of(times, slots, fields), micros(clock()) if self._own_clock else int(now)

    def get_note(self, name: str) -> str | None:
        """Return a text that all hosts share; ``None`` if there is none, or its time is over.

        :raises MeisaUnreachableError: if Redis cannot be reached or refuses.
        """
        text = self._do(lambda: self._client.get(self._note(name)))
        return text if isinstance(text, str) else None

    def put_note(self, name: str, text: str, seconds: float) -> None:
        """Keep a text for all hosts.

        :raises MeisaUnreachableError: if Redis cannot be reached or refuses.
        """
        self._do(lambda: self._client.set(self._note(name), text, px=int(seconds * 1000)))

    def _note(self, name: str) -> str:
        return f"meisa:{name}:{{{self._name}}}"

    def _call(self, script: Callable[..., Any], arguments: list[object]) -> Any:
        return self._do(lambda: script(self._keys, arguments))

    def _do(self, command: Callable[[], Any]) -> Any:
        try:
            return command()
        except self._redis.exceptions.RedisError as error:
            # The message has only the class of the error: its text may quote the URL.
            raise MeisaUnreachableError(
                f"The Redis of rate_limit_storage cannot be used ({type(error).__name__}). Nothing was sent. "
                "Check that it runs, and that host and password are right."
            ) from None


def _import_redis() -> ModuleType:
    try:
        import redis
    except ImportError as error:
        raise MeisaInputError(
            "rate_limit_storage names Redis, whose client is not installed: pip install "
            "'airflow-provider-meisa[redis]'."
        ) from error
    return redis


def _state_of(times: list[str], slots: list[str], fields: list[str]) -> State:
    known = dict(zip(fields[::2], map(int, fields[1::2]), strict=True))
    known.pop("serial", None)
    return State(
        log=tuple(map(int, times[1::2])),
        open=tuple(zip(slots[::2], map(int, slots[1::2]), strict=True)),
        **known,
    )
