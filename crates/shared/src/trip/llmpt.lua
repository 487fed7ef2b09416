-- Updates swarms and asks about them, in llmpt's layout: of each swarm two sorted sets, seeders and
-- leechers, whose members are `address:port` and scores the second each was last seen (since 1970),
-- and a hash with their numbers and how often it was finished. A set of all swarms is what llmpt's
-- own cleaner goes through, and takes out of.
--
-- KEYS: of each swarm the set of its seeders.
-- ARGV: the score below which members have expired, how long keys live, how long the hash is kept,
-- and the size of samples. Then for each swarm nine numbers: seeders and leechers seen again,
-- seeders and leechers that are news, peers that have left, whether a sample is wanted, how often
-- finished, how often before at least, and whether its keys are to live on. Peers follow, in that
-- order, each a score and a member; one that is older than what is there changes nothing.
--
-- The reply has of each swarm three numbers, seeders, leechers, and how often finished; and where a
-- sample was asked for two lists, of seeders and of leechers, members and scores in turn. Or an
-- error's text alone.

local call, at, out, n = redis.call, 5, {}, 0
local ttl, size = ARGV[2], tonumber(ARGV[4])

local function seen(key, count)
  if count == 0 then return end
  call('ZADD', key, 'GT', unpack(ARGV, at, at + 2 * count - 1))
  at = at + 2 * count
end

local function news(key, other, count)
  for _ = 1, count do
    local score, member = ARGV[at], ARGV[at + 1]
    local before = call('ZSCORE', other, member)
    if not before or tonumber(before) <= tonumber(score) then
      if before then call('ZREM', other, member) end
      call('ZADD', key, 'GT', score, member)
    end
    at = at + 2
  end
end

local function without(key, score, member)
  local told = call('ZSCORE', key, member)
  if told and tonumber(told) <= tonumber(score) then call('ZREM', key, member) end
end

local function lasting(key)
  call('ZREMRANGEBYSCORE', key, '-inf', '(' .. ARGV[1])
  call('EXPIRE', key, ttl)
end

local function finish(id, seeders, leechers, more, least)
  local stats = 'tracker:stats:' .. id
  local have = tonumber(call('HGET', stats, 'completed') or 0)
  local completed = math.max(have, least) + more
  if seeders + leechers + completed > 0 then
    call('HSET', stats, 'seeders', seeders, 'leechers', leechers, 'completed', completed)
    call('EXPIRE', stats, ARGV[3])
  end
  if seeders + leechers > 0 then call('SADD', 'tracker:active_torrents', id) end
  return completed
end

local function some(key, wanted)
  return wanted > 0 and call('ZRANDMEMBER', key, wanted, 'WITHSCORES') or {}
end

local function update(s)
  local id = string.match(s, '%x+$')
  local l, head = 'tracker:leechers:' .. id, {}
  for i = 1, 9 do head[i] = tonumber(ARGV[at + i - 1]) end
  at = at + 9
  seen(s, head[1])
  seen(l, head[2])
  news(s, l, head[3])
  news(l, s, head[4])
  for _ = 1, head[5] do
    without(s, ARGV[at], ARGV[at + 1])
    without(l, ARGV[at], ARGV[at + 1])
    at = at + 2
  end
  if head[3] + head[4] + head[6] + head[9] > 0 then
    lasting(s)
    lasting(l)
  end
  local seeders, leechers = call('ZCARD', s), call('ZCARD', l)
  local completed = finish(id, seeders, leechers, head[7], head[8])
  if head[6] == 0 then return seeders, leechers, completed end
  local of_s = math.min(seeders, math.max(math.floor(size / 2), size - leechers))
  local of_l = math.min(leechers, size - of_s)
  return seeders, leechers, completed, some(s, of_s), some(l, of_l)
end

for i = 1, #KEYS do
  local following = at + 9
  for j = 0, 4 do following = following + 2 * tonumber(ARGV[at + j]) end
  -- What fails for one swarm fails for it alone.
  local fine, seeders, leechers, completed, of_s, of_l = pcall(update, KEYS[i])
  if fine then
    out[n + 1], out[n + 2], out[n + 3] = seeders, leechers, completed
    n = n + 3
    if of_s then
      out[n + 1], out[n + 2] = of_s, of_l
      n = n + 2
    end
  else
    n = n + 1
    out[n] = type(seeders) == 'table' and seeders.err or tostring(seeders)
  end
  at = following
end
return out
