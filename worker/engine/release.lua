#!lua flags=allow-oom
-- node, resume_ms, (token, session)*
for i = 3, #ARGV, 2 do
  local k = P .. 't:' .. ARGV[i]
  local node, session = unpack(call('HMGET', k, 'n', 's'))
  if node == ARGV[1] and session == ARGV[i + 1] then
    call('HDEL', k, 'n', 's')
    call('PEXPIRE', k, ARGV[2])              -- 0 deletes
  end
end
return {}
