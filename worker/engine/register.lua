#!lua
-- token, record, ttl_ms  ->  ok | held
local k = P .. 't:' .. ARGV[1]
local node, session = unpack(call('HMGET', k, 'n', 's'))
if session and is_alive(node) then                              -- an erased one has no session
  call('PUBLISH', P .. 'i:' .. node, 'asked ' .. session .. ' ' .. ARGV[1])
  return {'held'}
end
call('DEL', k)
call('HSET', k, 'r', ARGV[2], 'a', at())
call('PEXPIRE', k, ARGV[3])
return {'ok'}
