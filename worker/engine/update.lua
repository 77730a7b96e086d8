#!lua
-- changes_max, topic*  ->  at of the last
local first = stamp(#ARGV - 1)
for i = 2, #ARGV do
  local t = text(first + i - 2)
  call('ZADD', P .. 'changed', t, ARGV[i])
  call('PUBLISH', P .. 'c:' .. ARGV[i], t)
end
trim(ARGV[1])
return {at()}
