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
  -- Data is lost if the node has seen a process that this data does not know, or has seen more of
  -- it than this data has. The stamp is stored, so that several such nodes cause one new epoch.
  if call('ZADD', ends, 'GT', 'CH', ARGV[5], ARGV[4]) == 1 then is_lost = true end
end
call('ZREMRANGEBYRANK', ends, 0, -17)        -- a node that has seen an evicted one has lost data
if not epoch then
  call('HSET', P .. 'meta', 'floor', text(last))
elseif is_lost then
  last = last + 1          -- a node that knows the new epoch has then seen more than older data has
end
if is_lost then epoch = ARGV[2] end
call('HSET', P .. 'meta', 'epoch', epoch, 'server', server, 'at', text(last))
return {epoch, server, text(last)}
