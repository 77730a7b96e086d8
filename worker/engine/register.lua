#!lua
-- token, record, ttl_ms  ->  ok | held
local k = P .. 't:' .. ARGV[1]
local node = call('HGET', k, 'n')
if node and is_alive(node) then return {'held'} end
call('DEL', k)
call('HSET', k, 'r', ARGV[2], 'a', at())
call('PEXPIRE', k, ARGV[3])
return {'ok'}
