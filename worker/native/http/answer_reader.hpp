// Reads one HTTP/1 answer of the app server from the bytes of a connection. Owns the rules of which
// bytes are an answer; does not know the connection. worker/src/node/answer-reader.ts has the same
// rules.
//
// Not Beast's parser: it reports an unreadable header or body as the failure of the whole answer.
// But an app server whose status line has come has dealt with the message. From there on the status
// stands, whatever follows; an unreadable rest only costs the connection.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sidekick/base.hpp"

namespace sidekick::host {

class AnswerReader {
 public:
  explicit AnswerReader(std::size_t body_bytes_max) : body_bytes_max_(body_bytes_max) {}

  void push(std::string_view bytes);
  /// The app server has closed the connection.
  void end();

  /// Of the final status line; 0 until it is complete.
  u32 status() const { return status_; }
  /// Nothing that follows can change the answer.
  bool is_over() const { return state_ == State::over; }
  /// Nothing has come yet.
  bool is_untouched() const { return state_ == State::status_line && lines_bytes_ == 0; }
  /// A 2xx status means the app server has accepted the message; the rest is irrelevant.
  bool is_taken() const { return status_ >= 200 && status_ < 300; }
  /// The connection can carry another request: the end of the answer is beyond doubt.
  bool is_clean() const;
  /// The body exceeds the limit: the rest of it is missing.
  bool is_cut() const { return is_cut_; }
  /// What has come of the body, up to the limit. Empty with a 2xx status.
  const std::string& body() const { return body_; }
  /// Why the answer, or the rest of it, is unreadable.
  const std::string& error() const { return error_; }
  const std::optional<std::string>& location() const { return location_; }
  /// For how long the app server keeps the idle connection, if it says so.
  std::optional<u64> keep_alive_seconds() const { return keep_alive_seconds_; }

 private:
  enum class State : u8 {
    status_line,
    interim_head,
    head,
    body_of_known_length,
    body_until_the_end,
    size_of_a_chunk,
    chunk,
    end_of_a_chunk,
    trailers,
    over,
  };

  /// These return how many bytes they have taken.
  std::size_t read(std::string_view bytes);
  std::size_t read_line(std::string_view bytes);
  void on_line(std::string_view line);
  void on_status_line(std::string_view line);
  void on_header(std::string_view line);
  void on_head();
  void on_chunk_size(std::string_view line);
  void keep(std::string_view bytes);
  void fail(const char* reason);
  void over() { state_ = State::over; }

  std::size_t body_bytes_max_;
  State state_ = State::status_line;
  u32 status_ = 0;
  std::string line_;
  std::size_t lines_bytes_ = 0;
  unsigned interim_answers_ = 0;
  bool is_http_1_0_ = false;
  std::string connection_;
  std::vector<std::string> lengths_;
  bool is_encoded_ = false;
  bool is_chunked_ = false;
  u64 left_ = 0;  ///< bytes missing of the body or the chunk
  std::string body_;
  std::string error_;
  std::optional<std::string> location_;
  std::optional<u64> keep_alive_seconds_;
  bool is_cut_ = false;
  bool is_doubtful_ = false;  ///< two readers could disagree on where the answer ends
};

}  // namespace sidekick::host
