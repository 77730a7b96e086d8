#!lua flags=allow-oom
-- node, lease_ms, number  ->  nothing; what matters comes as a message
local lease = P .. 'n:' .. ARGV[1]
local had = call('PEXPIRE', lease, ARGV[2])
if had == 0 then call('SET', lease, '1', 'PX', ARGV[2]) end
local epoch = (meta('epoch')) or '-'
call('PUBLISH', P .. 'i:' .. ARGV[1],
  'beat ' .. ARGV[3] .. ' ' .. had .. ' ' .. at() .. ' ' .. epoch)
return {}
