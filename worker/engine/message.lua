#!lua
-- topic, text, changes_max, history_max, history_ms  ->  at
local t, h = text(stamp(1)), P .. 'h:' .. ARGV[1]
local before = call('ZSCORE', P .. 'changed', ARGV[1]) or meta('floor') or '0'
call('ZADD', P .. 'changed', t, ARGV[1])
if ARGV[4] ~= '0' then
  call('XADD', h, 'MAXLEN', ARGV[4], t .. '-0', 'p', before, 'd', ARGV[2])
  call('PEXPIRE', h, ARGV[5])
end
call('PUBLISH', P .. 'c:' .. ARGV[1], t .. ' ' .. ARGV[2])
trim(ARGV[3])
return {t}
