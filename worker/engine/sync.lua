#!lua flags=allow-oom
-- node, new epoch, and what the node has seen: epoch, server, at
--   ->  epoch, server, at
local server = string.match(call('INFO', 'server'), 'run_id:(%x+)')
local epoch, before, last = meta('epoch', 'server', 'at')
last = tonumber(last or '0')
local ends = P .. 'ends'          -- by process: the highest stamp that it left behind
if before ~= server then          -- another process: a restart or a failover
  if before then call('ZADD', ends, text(last), before) end
  -- Above all stamps of the old process, if its clock was less than 1 s ahead.
  last = math.max(tonumber(position()), now()) + 1000000
end
local is_lost = not epoch
if ARGV[3] ~= '' and ARGV[4] ~= server then
  -- Has this node seen a process that this data is older than? All nodes that have count once. Or
  -- more than the old process left behind?
  local is_unknown = call('ZADD', ends, 'NX', ARGV[5], ARGV[4]) == 1
  local has_more = tonumber(ARGV[5]) > tonumber(call('ZSCORE', ends, ARGV[4]))
  is_lost = is_lost or is_unknown or (ARGV[3] == epoch and has_more)
end
call('ZREMRANGEBYRANK', ends, 0, -17)        -- a node that knows an older one counts as above
if not epoch then call('HSET', P .. 'meta', 'floor', text(last)) end
if is_lost then epoch = ARGV[2] end
call('HSET', P .. 'meta', 'epoch', epoch, 'server', server, 'at', text(last))
return {epoch, server, text(last)}
