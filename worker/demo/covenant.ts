// The contract between the demo's server and its page: both import this file, and it imports
// neither.
import { channel, declareCovenant, mutation, query } from "@covenant-rpc/core";
import { z } from "zod";

const todo = z.object({
  id: z.string(),
  text: z.string(),
  done: z.boolean(),
  changedAt: z.date(), // a Date on both sides: ION carries it, JSON would not
});
export type Todo = z.infer<typeof todo>;

const chatLine = z.object({ username: z.string(), text: z.string(), at: z.date() });
export type ChatLine = z.infer<typeof chatLine>;

export const todoTextMax = 200;
export const chatTextMax = 500;
export const nameMax = 40;

export const covenant = declareCovenant({
  procedures: {
    getTodos: query({ input: z.null(), output: z.array(todo) }),
    addTodo: mutation({
      input: z.object({ text: z.string().trim().min(1).max(todoTextMax) }),
      output: todo,
    }),
    toggleTodo: mutation({ input: z.object({ id: z.string(), done: z.boolean() }), output: todo }),
    deleteTodo: mutation({ input: z.object({ id: z.string() }), output: z.null() }),
  },
  channels: {
    chat: channel({
      params: ["roomId"],
      connectionRequest: z.object({ username: z.string() }),
      connectionContext: z.object({ username: z.string() }),
      clientMessage: z.object({ text: z.string().min(1).max(chatTextMax) }),
      serverMessage: chatLine,
    }),
  },
});
