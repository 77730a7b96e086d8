#!lua flags=allow-oom
-- node, lease_ms, number  ->  nothing; what matters comes as a message
local lease = P .. 'n:' .. ARGV[1]
local had = call('EXISTS', lease)
if ARGV[2] == '0' then
  call('SET', lease, '1')                    -- for ever
else
  call('SET', lease, '1', 'PX', ARGV[2])
end
local epoch = (meta('epoch')) or '-'
call('PUBLISH', P .. 'i:' .. ARGV[1],
  'beat ' .. ARGV[3] .. ' ' .. had .. ' ' .. at() .. ' ' .. epoch)
return {}
