#!lua flags=no-writes
-- epoch, since, topic*  ->  at, then all | index*
local epoch, floor = meta('epoch', 'floor')
local out, since = {position()}, tonumber(ARGV[2])
if not since then return out end             -- '': only the position is wanted
if since < 0 then since = now() + since * 1000 end               -- a look back, in ms
if epoch ~= ARGV[1] or since < tonumber(floor)
  or since > math.max(tonumber(out[1]), now() + 1000000) then
  return {out[1], 'all'}
end
for i, score in ipairs(call('ZMSCORE', P .. 'changed', unpack(ARGV, 3))) do
  if score and tonumber(score) > since then out[#out + 1] = tostring(i - 1) end
end
return out
