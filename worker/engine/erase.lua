#!lua flags=allow-oom
-- token, node, session, keep_ms  ->  ok | held
local k = P .. 't:' .. ARGV[1]
local node, session = unpack(call('HMGET', k, 'n', 's'))
if node and node ~= '-' and (node ~= ARGV[2] or session ~= ARGV[3]) then return {'held'} end
call('DEL', k)
call('HSET', k, 'n', '-')                    -- a tombstone: no reclaim brings the token back
call('PEXPIRE', k, ARGV[4])
return {'ok'}
