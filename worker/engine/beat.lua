#!lua flags=allow-oom
-- node, lease_ms, number  ->  nothing; the result comes as a message
local lease = P .. 'n:' .. ARGV[1]
local had = call('EXISTS', lease)
if ARGV[2] == '0' then
  call('SET', lease, '1')                    -- for ever
else
  call('SET', lease, '1', 'PX', ARGV[2])
end
local epoch = meta('epoch')
-- Time passes without changes, too. It is stored, because the clock may step back.
if epoch then
  call('HSET', P .. 'meta', 'told', text(math.max(tonumber(position()), now())))
end
call('PUBLISH', P .. 'i:' .. ARGV[1],
  'beat ' .. ARGV[3] .. ' ' .. had .. ' ' .. position() .. ' ' .. (epoch or '-'))
return {}
