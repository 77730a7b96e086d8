#!lua flags=no-writes
-- topic, epoch, since, bytes_max  ->  at, then lost | ok, (at, text)*
local epoch, last, floor = meta('epoch', 'at', 'floor')
local lost, out, since = {last or '0', 'lost'}, {last, 'ok'}, tonumber(ARGV[3])
if epoch ~= ARGV[2] or since > math.max(tonumber(position()), now() + 1000000) then return lost end
local newest, bytes, page = ARGV[3], 0, nil
repeat
  page = call('XRANGE', P .. 'h:' .. ARGV[1], '(' .. newest .. '-0', '+', 'COUNT', 16)
  for _, entry in ipairs(page) do
    local before, body = entry[2][2], entry[2][4]
    if #out == 2 and tonumber(before) > since then return lost end    -- an earlier one is missing
    newest, bytes = string.sub(entry[1], 1, -3), bytes + #body
    if bytes > tonumber(ARGV[4]) then return lost end
    out[#out + 1] = newest
    out[#out + 1] = body
  end
until #page < 16
local score = tonumber(call('ZSCORE', P .. 'changed', ARGV[1]) or '0')
if score > tonumber(newest) or (#out == 2 and since < tonumber(floor)) then return lost end
return out
