// The application: a todo list and a chat, in memory. It knows Covenant, but neither node:http nor
// the page.

import type { ServerToSidekickConnection } from "@covenant-rpc/core/interfaces";
import { CovenantServer } from "@covenant-rpc/server";
import { covenant, nameMax, type Todo } from "./covenant.js";

const todoCountMax = 100;

export function createApp(sidekickConnection: ServerToSidekickConnection) {
  const todos: Todo[] = [
    { id: "1", text: "Open this page in a second tab", done: false, changedAt: new Date() },
  ];

  const server = new CovenantServer(covenant, {
    contextGenerator: () => undefined,
    derivation: () => ({}),
    sidekickConnection,
    logLevel: "error",
  });

  server.defineProcedure("getTodos", {
    resources: () => ["todos"],
    procedure: () => todos,
  });

  server.defineProcedure("addTodo", {
    resources: ({ outputs }) => ["todos", `todo/${outputs.id}`],
    procedure: ({ inputs, error }) => {
      if (todos.length >= todoCountMax)
        error(`The list is full: it holds ${todoCountMax} todos. Delete one first.`, 409);
      const id = crypto.randomUUID();
      const todo: Todo = { id, text: inputs.text, done: false, changedAt: new Date() };
      todos.push(todo);
      return todo;
    },
  });

  server.defineProcedure("toggleTodo", {
    resources: ({ inputs }) => ["todos", `todo/${inputs.id}`],
    procedure: ({ inputs, error }) => {
      const todo =
        todos.find((t) => t.id === inputs.id) ??
        error("This todo is gone: someone deleted it.", 404);
      todo.done = inputs.done;
      todo.changedAt = new Date();
      return todo;
    },
  });

  server.defineProcedure("deleteTodo", {
    resources: ({ inputs }) => ["todos", `todo/${inputs.id}`],
    procedure: ({ inputs, error }) => {
      const index = todos.findIndex((t) => t.id === inputs.id);
      if (index === -1) error("This todo is gone: someone deleted it.", 404);
      todos.splice(index, 1);
      return null;
    },
  });

  server.defineChannel("chat", {
    onConnect: ({ inputs, reject }) => {
      const username = inputs.username.trim();
      if (username === "") reject("Please enter a name.", "client");
      if (username.length > nameMax)
        reject(`Please choose a name of at most ${nameMax} characters.`, "client");
      return { username };
    },
    onMessage: async ({ inputs, params, context, error }) => {
      if (inputs.text.startsWith("/"))
        error(`There is no command ${inputs.text.split(" ")[0]} here.`, "client");
      const failed = await server.sendMessage("chat", params, {
        username: context.username,
        text: inputs.text,
        at: new Date(),
      });
      if (failed) error("The message could not be delivered.", "server");
    },
  });

  server.assertAllDefined();
  return server;
}
