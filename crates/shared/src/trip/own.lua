-- Updates swarms and asks about them, in Peerage's own layout: of each swarm one sorted set. A
-- member is a compact peer; its score is 2^48 if it is a seeder, and the second it was last seen
-- (since 1970) times 2^16, and the number of the node that told so. How often a swarm was finished
-- is in a key of its own.
--
-- KEYS: of each swarm the sorted set.
-- ARGV: the score of a leecher below which members have expired, how long keys live, how long it is
-- kept how often a swarm was finished, the size of samples, the numbers of dead nodes, and a number
-- to draw by. Then for each swarm a number, its head:
--   bits 0 to 8    how many peers are told
--   bits 9 to 17   how many have left
--   bit 18         whether some of the told are news, or else all were seen again
--   bit 19         whether a sample is wanted
--   bit 20         whether its key is to live on
--   bit 21         whether it was finished; then follow how often, and how often before at least
-- And peers, told ones first, each a score and a member.
--
-- The reply has of each swarm two numbers, seeders and leechers. Where its head has more than bits
-- 0 to 8 and 20 two others: how often it was finished, or -1 where nobody asked; and a node, other
-- than the teller and none of the dead, that has told of one of these peers before, or -1. And a
-- sample where one was asked for, members and scores in turn, which is empty where all peers are
-- those that were just told. Or an error's text alone.
--
-- What costs is to look up a key (a microsecond where Redis holds millions and finds them in no
-- cache), and next to it each command and each argument, however little it does. So who was seen
-- again replaces what is there by the score alone, which is wrong only for a seeder that another
-- node has called a leecher since, and is set right with the next sample that its node asks for.
-- And what an empty or a whole set would say is not asked.

local call, pcall, tonumber, unpack, floor = redis.call, pcall, tonumber, unpack, math.floor
local KEYS, ARGV, at, out, n = KEYS, ARGV, 7, {}, 0
local SEEDER, SEEDERS = 281474976710656, '281474976710656'
local expired, ttl, size = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[4])
local dead = nil
for number in string.gmatch(ARGV[5], '%d+') do
  dead = dead or {}
  dead[tonumber(number)] = true
end
math.randomseed(tonumber(ARGV[6]))

local function teller(score) return score % 65536 end

-- Seeders and leechers among `all`; where these are the peers told from `from` on by those.
local function roles(key, all, from)
  local seeders = 0
  if not from then
    seeders = call('ZCOUNT', key, SEEDERS, '+inf')
  else
    for i = from, from + 2 * all - 2, 2 do
      if tonumber(ARGV[i]) >= SEEDER then seeders = seeders + 1 end
    end
  end
  return seeders, all - seeders
end

-- Takes out who has expired.
local function lasting(key)
  call('ZREMRANGEBYSCORE', key, '-inf', '(' .. ARGV[1])
  call('ZREMRANGEBYSCORE', key, SEEDERS, '(' .. string.format('%.0f', SEEDER + expired))
end

local function seen(key, count, renews)
  local from = at
  local added = call('ZADD', key, 'GT', unpack(ARGV, from, from + 2 * count - 1))
  local all = call('ZCARD', key)
  if renews and all > count then
    lasting(key)
    all = call('ZCARD', key)
  end
  if renews or all == added then call('EXPIRE', key, ttl) end
  return roles(key, all, all == count and from)
end

-- The next members, and the scores they have.
local function following(key, count)
  local members = {}
  for i = 1, count do members[i] = ARGV[at + 2 * i - 1] end
  return members, call('ZMSCORE', key, unpack(members))
end

-- How many were not there, how many are as they were told, and another node, none of the dead, that
-- told of one that was there.
local function here(key, count)
  if count == 0 then return 0, 0, -1 end
  local members, before = following(key, count)
  local newer, k, node = {}, 0, -1
  for i = 1, count do
    local score, old = ARGV[at + 2 * i - 2], before[i]
    local number = tonumber(score)
    old = old and tonumber(old)
    local by = old and teller(old)
    if old and by ~= teller(number) and not (dead and dead[by]) then node = by end
    if not old or old % SEEDER <= number % SEEDER then
      newer[k + 1], newer[k + 2] = score, members[i]
      k = k + 2
    end
  end
  at = at + 2 * count
  return k > 0 and call('ZADD', key, unpack(newer)) or 0, k / 2, node
end

local function left(key, count)
  if count == 0 then return end
  local members, before = following(key, count)
  local gone, k = {}, 0
  for i = 1, count do
    if before[i] and tonumber(before[i]) % SEEDER <= tonumber(ARGV[at + 2 * i - 2]) then
      k = k + 1
      gone[k] = members[i]
    end
  end
  at = at + 2 * count
  if k > 0 then call('ZREM', key, unpack(gone)) end
end

-- Takes out who has expired and who was told of by a dead node; says who is left.
local function lively(key, all)
  local list = call('ZRANGE', key, 0, all - 1, 'WITHSCORES')
  local stay, k, gone = {}, 0, {}
  for i = 1, #list, 2 do
    local score = tonumber(list[i + 1])
    if score % SEEDER < expired or dead and dead[teller(score)] then
      gone[#gone + 1] = list[i]
    else
      stay[k + 1], stay[k + 2] = list[i], list[i + 1]
      k = k + 2
    end
  end
  if #gone > 0 then call('ZREM', key, unpack(gone)) end
  return stay
end

-- Adds `wanted` of the `count` members from the rank `first` on: a few in a row here and there.
local function draw(key, first, count, wanted, sample)
  local parts = wanted < count and math.min(wanted, 8) or 1
  for part = 0, parts - 1 do
    local from = floor(part * count / parts)
    local room = floor((part + 1) * count / parts) - from
    local some = floor((part + 1) * wanted / parts) - floor(part * wanted / parts)
    if some > 0 then
      from = first + from + math.random(0, room - some)
      local list = call('ZRANGE', key, from, from + some - 1, 'WITHSCORES')
      for i = 1, #list do sample[#sample + 1] = list[i] end
    end
  end
end

local function some(key, seeders, leechers)
  local sample = {}
  local of_s = math.min(seeders, math.max(floor(size / 2), size - leechers))
  draw(key, 0, leechers, math.min(leechers, size - of_s), sample)
  draw(key, leechers, seeders, of_s, sample)
  return sample
end

local function finish(key, more, least, asked)
  if not asked and more == 0 and least == 0 then return -1 end
  local c = key .. ':c'
  local have = tonumber(call('GET', c) or 0)
  local completed = math.max(have, least) + more
  if completed > have then call('SET', c, completed, 'EX', ARGV[3]) end
  return completed
end

local function long(key, told, gone, flags)
  local is_news, asked, renews = flags % 2 == 1, flags % 4 > 1, flags % 8 > 3
  local more, least = 0, 0
  if flags > 7 then
    more, least = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
    at = at + 2
  end
  local from = at
  local added, applied, node = here(key, told)
  left(key, gone)
  local all, sample = call('ZCARD', key), asked and {} or nil
  local whole, others = all == told and applied == told, all > told
  if others and (asked or renews) then
    if asked and all <= (dead and 512 or 64) then
      sample = lively(key, all)
      all = #sample / 2
    else
      lasting(key)
      all = call('ZCARD', key)
    end
  end
  if all > 0 and (is_news or renews or all == added) then call('EXPIRE', key, ttl) end
  local seeders, leechers = roles(key, all, whole and from)
  if asked and others and (all > size or #sample == 0) then
    sample = some(key, seeders, leechers)
  end
  return seeders, leechers, finish(key, more, least, asked), node, sample
end

for i = 1, #KEYS do
  local head = tonumber(ARGV[at])
  local told, gone, flags = head, 0, 0
  if head > 511 then
    told, gone, flags = head % 512, floor(head / 512) % 512, floor(head / 262144)
  end
  local next = at + 1 + 2 * (told + gone + floor(flags / 8))
  at = at + 1
  -- What fails for one swarm fails for it alone.
  local fine, seeders, leechers, completed, node, sample
  if told > 0 and gone == 0 and (flags == 0 or flags == 4) then
    fine, seeders, leechers = pcall(seen, KEYS[i], told, flags == 4)
  else
    fine, seeders, leechers, completed, node, sample = pcall(long, KEYS[i], told, gone, flags)
  end
  if fine then
    out[n + 1], out[n + 2] = seeders, leechers
    n = n + 2
    if node then
      out[n + 1], out[n + 2] = completed, node
      n = n + 2
    end
    if sample then
      n = n + 1
      out[n] = sample
    end
  else
    n = n + 1
    out[n] = type(seeders) == 'table' and seeders.err or tostring(seeders)
  end
  at = next
end
return out
