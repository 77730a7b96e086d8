#!lua flags=allow-oom
-- token, node, session, keep_ms  ->  ok record registered at same | held | none
local k = P .. 't:' .. ARGV[1]
local record, node, session, registered = unpack(call('HMGET', k, 'r', 'n', 's', 'a'))
if not record then return {'none'} end
local same = node == ARGV[2] and session == ARGV[3] and '1' or '0'
if node and node ~= ARGV[2] then
  local is_refused = session ~= ARGV[3] and is_alive(node)
  local hint = is_refused and 'asked ' or 'taken '
  call('PUBLISH', P .. 'i:' .. node, hint .. session .. ' ' .. ARGV[1])
  if is_refused then return {'held'} end
end
call('HSET', k, 'n', ARGV[2], 's', ARGV[3])
call('PEXPIRE', k, ARGV[4])
return {'ok', record, registered, at(), same}
