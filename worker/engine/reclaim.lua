#!lua flags=allow-oom
-- node, keep_ms, (token, session, record or '')*
--   ->  for each: 0 mine, 1 lost, 2 moved, 3 absent, 4 mine again
local out = {}
for i = 3, #ARGV, 3 do
  local k = P .. 't:' .. ARGV[i]
  local node, session, record = unpack(call('HMGET', k, 'n', 's', 'r'))
  if node == '-' or (node and node ~= ARGV[1] and is_alive(node)) then
    out[#out + 1] = session == ARGV[i + 1] and '2' or '1'
  elseif not record and ARGV[i + 2] == '' then
    out[#out + 1] = '3'
  else
    if not record then call('HSET', k, 'r', ARGV[i + 2], 'a', at()) end
    call('HSET', k, 'n', ARGV[1], 's', ARGV[i + 1])
    call('PEXPIRE', k, ARGV[2])
    out[#out + 1] = (record and node == ARGV[1] and session == ARGV[i + 1]) and '0' or '4'
  end
end
return out
