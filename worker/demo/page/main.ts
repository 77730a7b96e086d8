// The page: two panels on one connection.
import "./todos.js";
import "./chat.js";
